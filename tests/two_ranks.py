"""Run by torchrun: one rank fails at different places, or has no room, and no rank is left waiting."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist

from connector_bench.processes import (
    MeasurementFailed,
    exchange,
    first_rank_takes_in_turn,
    gather_all,
    on_every_rank,
    on_first_rank,
    rank_and_size,
)
from connector_bench.processes.packing import Shape
from connector_bench.reconstruction.gathered_so_far import GATHERED
from connector_bench.reconstruction.inherited import Inherited
from connector_bench.reconstruction.learning import ProbeLearner
from connector_bench.reconstruction.store import RunStore
from tests.reconstruction.planted import images, small_config

dist.init_process_group("gloo")
RANK, SIZE = rank_and_size()


def said(work: object) -> str:
    try:
        return str(on_every_rank(work))  # type: ignore[arg-type]
    except (MeasurementFailed, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def failing(rank: int) -> None:
    if rank == RANK:
        raise ValueError("a full disk")


def before_gathering(rank: int) -> list[int]:
    failing(rank)
    return gather_all(RANK)


def before_the_first_rank(rank: int) -> int:
    failing(rank)
    return on_first_rank(sum, RANK)


def before_taking_turns(rank: int) -> int:
    failing(rank)
    return first_rank_takes_in_turn(RANK, sum)


def between_two(rank: int) -> int:
    gather_all(RANK)
    failing(rank)
    return on_first_rank(sum, RANK)


def inside_another(rank: int) -> list[int]:
    failing(rank)
    on_every_rank(lambda: gather_all(RANK))
    return gather_all(RANK)


class Unreadable:
    """Of which nothing can be made where it arrives; what is known of rank 0's own never crosses."""

    def __getstate__(self) -> dict[str, torch.Tensor]:
        return {"values": torch.ones(5)}

    def __setstate__(self, state: dict[str, torch.Tensor]) -> None:
        raise ValueError("a full disk")


def as_it_arrives(rank: int) -> int | None:
    own = Unreadable() if rank == RANK else torch.ones(5)
    return first_rank_takes_in_turn(own, lambda parts: failing(rank) if rank == 0 else len(list(parts)))


def as_if_on_cards(lacking: int) -> float:
    """A rank's device that has no room for what comes: then it comes by way of the CPU, and is the same."""

    def room(shapes: Sequence[Shape]) -> list[torch.Tensor] | None:
        return None if lacking == RANK else room_for(shapes)

    room_for, carries = exchange._room_for, exchange._carries
    exchange._room_for, exchange._carries = room, lambda device: True
    try:
        own = torch.full((3, 4), float(RANK + 1))
        return float(first_rank_takes_in_turn(own, lambda parts: sum(parts, torch.zeros(3, 4))).sum())
    finally:
        exchange._room_for, exchange._carries = room_for, carries


def reading_what_an_earlier_run_left(rank: int) -> str | None:
    """A file of another number of ranks' state that is cut after the run began; the learner's words on it."""
    learner = ProbeLearner(small_config())
    learner.begin([name for name, _ in images(8)], [])
    with TemporaryDirectory() as folder:
        if rank == RANK:
            store = RunStore(Path(folder), {})
            (store.folder / f"{GATHERED}.safetensors").write_bytes(b"cut")
            learner._inherited = Inherited([store])
        learner.fit()
    return learner.failure


def shown_to_whoever_waits() -> list[str]:
    titles = []

    def shown(title: str) -> AbstractContextManager[None]:
        titles.append(title)
        return nullcontext()

    first_rank_takes_in_turn(RANK, sum, shown)
    return titles


WORKS = (
    before_gathering,
    before_the_first_rank,
    before_taking_turns,
    between_two,
    inside_another,
    as_it_arrives,
)
lines = []
for work in WORKS:
    lines += [f"{work.__name__} {failed}: {said(lambda: work(failed))}" for failed in range(SIZE + 1)]  # noqa: B023
lines += [f"as_if_on_cards {lacking}: {as_if_on_cards(lacking)}" for lacking in range(SIZE + 1)]
for rank in (0, 1):
    lines += [f"failure {rank}: {on_every_rank(lambda: reading_what_an_earlier_run_left(rank))}"]  # noqa: B023
lines += [f"shown: {'; '.join(shown_to_whoever_waits())}"]
everyone = gather_all(lines)
if RANK == 0:
    sys.stdout.write("\n".join(f"rank {rank} {line}" for rank, said in enumerate(everyone) for line in said))
dist.destroy_process_group()
