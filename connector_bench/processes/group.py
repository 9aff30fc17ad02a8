"""The process group that values cross through, and how a rank waits in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from connector_bench.foreign_files import without_colours
from connector_bench.processes.ending import wait_for_the_end

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

T = TypeVar("T")

PATIENCE = timedelta(days=2)
"""How long ranks wait for one that is still measuring or fitting; torch's own half an hour would end them."""


class MeasurementFailed(RuntimeError):
    """A measurement could not be completed; the message says why, on every rank alike."""


def error_text(failure: Exception) -> str:
    """Kind and message of an error; the message alone where it tells of another rank's or rank 0's."""
    said = without_colours(str(failure))
    return said if isinstance(failure, MeasurementFailed) else f"{type(failure).__name__}: {said}"


def rank_and_size() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) without a process group."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


@cache
def cpu_group(patience: timedelta = PATIENCE) -> ProcessGroup:
    """A group of our own, on the CPU whatever the models run on. Made by all ranks together."""
    import torch.distributed as dist

    group = dist.new_group(backend="gloo", timeout=patience)
    assert isinstance(group, dist.ProcessGroup)
    return group


@contextmanager
def connected() -> Iterator[None]:
    """Around an exchange: where another process is gone the run ends, by its watch, or with MeasurementFailed."""
    import torch

    try:
        yield
    except MeasurementFailed:
        raise
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        wait_for_the_end()
        raise MeasurementFailed(f"the connection to another process of this run broke: {error}") from error


def patiently(exchange: Callable[[], T]) -> T:
    """An exchange that may wait hours for other ranks, in a thread of its own: signals are answered meanwhile."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(exchange())
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    with connected():
        for error in errors:
            raise error
    return results[0]
