"""One process is its own only rank; two through torchrun, also in test_command_line."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from connector_bench.processes import exchange, gather_all, on_every_rank, on_first_rank, rank_and_size
from connector_bench.processes.packing import Packed


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


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_rank_that_fails_leaves_no_other_waiting(ranks: int) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(ranks), "--standalone"]
    done = subprocess.run(
        [*torchrun, "-m", "tests.two_ranks"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    said = done.stdout.splitlines()
    for rank in range(ranks):
        for failed in (0, 1):
            (line,) = (line for line in said if line.startswith(f"rank {rank} failure {failed}: "))
            assert "gathered.safetensors cannot be read" in line
            assert (f"rank {failed} failed" in line) == (rank != failed)
    (shown,) = (line for line in said if line.startswith("rank 0 shown: "))
    assert "waiting for the other ranks; taking in what rank 1" in shown
    assert shown.endswith("handing what was found to the other ranks")
    said = [line for line in said if " failure " not in line and " shown: " not in line]
    lines = dict(line.rsplit(": ", 1) for line in said if line.startswith("rank "))
    summed = {line: lines.pop(line) for line in list(lines) if "as_if_on_cards" in line}
    assert len(lines) == ranks * 6 * (ranks + 1)
    for line, outcome in lines.items():
        nobody = line.split(":")[0].endswith(f" {ranks}")
        assert (outcome == "a full disk") != nobody, line
    assert len(summed) == ranks * (ranks + 1)
    assert {float(total) for total in summed.values()} == {12.0 * sum(range(1, ranks + 1))}


def test_what_a_device_has_no_room_for_stays_on_the_cpu_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"small": torch.arange(3), "large": torch.arange(1000)}
    packed = Packed.of(given)
    shapes = [replace(shape, device="meta") for shape in packed.shapes]
    moved = torch.Tensor.to

    def to(tensor: torch.Tensor, device: str) -> torch.Tensor:
        if len(tensor) > 100:
            raise torch.OutOfMemoryError
        return moved(tensor, device)

    monkeypatch.setattr(torch.Tensor, "to", to)
    found = exchange._there(packed.structure, shapes, packed.tensors)
    assert all(torch.equal(found[name], given[name]) for name in given)
