"""One process is its own only rank; two are tried through torchrun in test_command_line."""

import pytest

from connector_bench.processes import gather_all, on_every_rank, on_first_rank, rank_and_size


def test_one_process() -> None:
    assert rank_and_size() == (0, 1)
    assert gather_all("value") == ["value"]
    assert on_first_rank(sum, 3) == 3
    assert on_every_rank(lambda: 7) == 7


def test_an_error_keeps_its_type() -> None:
    def fail() -> None:
        raise KeyError("reason")

    with pytest.raises(KeyError, match="reason"):
        on_every_rank(fail)
