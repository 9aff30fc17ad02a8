"""One process is its own only rank; two are tried through torchrun in test_command_line."""

import pytest

from connector_bench.exchange import gather_all, on_first_rank, rank_and_size, together


def test_one_process() -> None:
    assert rank_and_size() == (0, 1)
    assert gather_all("value") == ["value"]
    assert on_first_rank(sum, 3) == 3
    assert together(lambda: 7) == 7


def test_an_error_keeps_its_type() -> None:
    def fail() -> None:
        raise KeyError("reason")

    with pytest.raises(KeyError, match="reason"):
        together(fail)
