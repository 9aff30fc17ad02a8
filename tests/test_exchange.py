"""One process is its own only rank; two through torchrun, also in test_command_line."""

import subprocess
import sys
from pathlib import Path

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


def test_a_rank_that_fails_leaves_no_other_waiting() -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    done = subprocess.run(
        [*torchrun, "-m", "tests.two_ranks"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    lines = dict(line.rsplit(": ", 1) for line in done.stdout.splitlines() if line.startswith("rank "))
    assert len(lines) == 2 * 5 * 3
    for line, outcome in lines.items():
        nobody = line.split(":")[0].endswith(" 2")
        assert (outcome == "a full disk") != nobody, line
