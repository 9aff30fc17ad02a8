"""Run by torchrun: one rank fails at different places, and no rank is left waiting."""

import sys

import torch.distributed as dist

from connector_bench.processes import (
    MeasurementFailed,
    first_rank_takes_in_turn,
    gather_all,
    on_every_rank,
    on_first_rank,
    rank_and_size,
)

dist.init_process_group("gloo")
RANK, _ = rank_and_size()


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


lines = []
for work in (before_gathering, before_the_first_rank, before_taking_turns, between_two, inside_another):
    lines += [f"{work.__name__} {failed}: {said(lambda: work(failed))}" for failed in (0, 1, 2)]  # noqa: B023
everyone = gather_all(lines)
if RANK == 0:
    sys.stdout.write("\n".join(f"rank {rank} {line}" for rank, said in enumerate(everyone) for line in said))
dist.destroy_process_group()
