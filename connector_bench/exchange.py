"""Values between the processes of one run, through the process group that accelerate or torchrun made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class MeasurementFailed(RuntimeError):
    """A measurement could not be completed; the message says why, on every rank alike."""


def rank_and_size() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) without a process group."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def gather_all(value: T) -> list[T]:
    """Every rank's value, in rank order, on every rank."""
    import torch.distributed as dist

    _, size = rank_and_size()
    if size == 1:
        return [value]
    received: list[T | None] = [None] * size
    dist.all_gather_object(received, value)
    return received  # type: ignore[return-value]


def on_first_rank(combine: Callable[[list[T]], R], value: T) -> R:
    """`combine` of all ranks' values, computed on rank 0 alone and handed to all.

    An error on rank 0 is raised on every rank, so that none waits for an answer that never comes.
    """
    import torch.distributed as dist

    rank, size = rank_and_size()
    if size == 1:
        return combine([value])
    received: list[T | None] | None = [None] * size if rank == 0 else None
    dist.gather_object(value, received, dst=0)
    outcome: list[tuple[R | None, str | None]] = [(None, None)]
    if rank == 0:
        try:
            outcome = [(combine(received), None)]  # type: ignore[arg-type]
        except Exception as error:
            outcome = [(None, f"{type(error).__name__}: {error}")]
    dist.broadcast_object_list(outcome, src=0)
    result, message = outcome[0]
    if message is not None:
        raise MeasurementFailed(message)
    return result  # type: ignore[return-value]


def together(work: Callable[[], T]) -> T:
    """`work` done by every rank; when one rank fails, all raise, naming the rank and its error."""
    result: T | None = None
    failure: Exception | None = None
    try:
        result = work()
    except Exception as error:
        failure = error
    messages = gather_all(None if failure is None else f"{type(failure).__name__}: {failure}")
    if failure is not None:
        raise failure
    for rank, message in enumerate(messages):
        if message is not None:
            raise MeasurementFailed(f"rank {rank} failed: {message}")
    return result  # type: ignore[return-value]
