"""Values between the processes of one run, through the process group that accelerate or torchrun made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = timedelta(days=2)
"""How long ranks wait for one that is still measuring or fitting; torch's own half an hour would end them."""


class MeasurementFailed(RuntimeError):
    """A measurement could not be completed; the message says why, on every rank alike."""


def rank_and_size() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) without a process group."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


@cache
def _group() -> ProcessGroup:
    """A group of our own, on the CPU whatever the models run on, whose ranks are patient. Made by all together."""
    import torch.distributed as dist

    group = dist.new_group(backend="gloo", timeout=PATIENCE)
    assert isinstance(group, dist.ProcessGroup)
    return group


def gather_all(value: T) -> list[T]:
    """Every rank's value, in rank order, on every rank."""
    import torch.distributed as dist

    _, size = rank_and_size()
    if size == 1:
        return [value]
    _meet()
    received: list[T | None] = [None] * size
    dist.all_gather_object(received, value, group=_group())
    return received  # type: ignore[return-value]


def on_first_rank(combine: Callable[[list[T]], R], value: T) -> R:
    """`combine` of all ranks' values, computed on rank 0 alone and handed to all.

    An error on rank 0 is raised on every rank, so that none waits for an answer that never comes.
    """
    import torch.distributed as dist

    rank, size = rank_and_size()
    if size == 1:
        return combine([value])
    _meet()
    received: list[T | None] | None = [None] * size if rank == 0 else None
    dist.gather_object(value, received, dst=0, group=_group())
    return _handed_to_all(lambda: combine(received))  # type: ignore[arg-type]


def first_rank_takes_in_turn(value: T, combine: Callable[[Iterator[T]], R]) -> R:
    """As `on_first_rank`, for values so large that rank 0 should hold one other rank's at a time."""
    import torch.distributed as dist

    rank, size = rank_and_size()
    if size == 1:
        return combine(iter([value]))
    _meet()
    if rank != 0:
        dist.send_object_list([value], dst=0, group=_group())
        return _handed_to_all(None)

    def others() -> Iterator[T]:
        for source in range(1, size):
            received: list[T | None] = [None]
            dist.recv_object_list(received, src=source, group=_group())
            yield received[0]  # type: ignore[misc]

    arriving = others()

    def all_of_them() -> R:
        def own_first() -> Iterator[T]:
            yield value
            yield from arriving

        try:
            return combine(own_first())
        finally:
            for _ in arriving:  # what an error left unread must be received, or its sender waits for ever
                pass

    return _handed_to_all(all_of_them)


def _handed_to_all(work: Callable[[], R] | None) -> R:
    """What `work` gives on rank 0, or its error, on every rank."""
    import torch.distributed as dist

    outcome: list[tuple[R | None, str | None]] = [(None, None)]
    if work is not None and dist.get_rank() == 0:
        try:
            outcome = [(work(), None)]
        except Exception as error:
            outcome = [(None, error_text(error))]
    dist.broadcast_object_list(outcome, src=0, group=_group())
    result, message = outcome[0]
    if message is not None:
        raise MeasurementFailed(message)
    return result  # type: ignore[return-value]


def on_every_rank(work: Callable[[], T]) -> T:
    """`work` done by every rank; when one rank fails, all raise, naming the rank and its error.

    `work` may exchange values itself: where one rank fails before that, the others' exchange ends in the same error,
    so that no rank waits for one that will not come.
    """
    global _depth
    result: T | None = None
    failure: Exception | None = None
    _depth += 1
    try:
        result = work()
    except Exception as error:
        failure = error
    finally:
        _depth -= 1
    messages = _meet_at_the_end(None if failure is None else error_text(failure))
    if failure is not None:
        raise failure
    for rank, found in enumerate(messages):
        if found is not None:
            raise MeasurementFailed(f"rank {rank} failed: {found}")
    return result  # type: ignore[return-value]


def error_text(failure: Exception) -> str:
    """Kind and message of an error; the message alone where it tells of another rank's or rank 0's."""
    return str(failure) if isinstance(failure, MeasurementFailed) else f"{type(failure).__name__}: {failure}"


_depth = 0
"""How many calls of `on_every_rank` this rank is inside of."""


@dataclass(frozen=True)
class _Place:
    """Where a rank is when ranks meet."""

    level: int
    """Even before an exchange, odd at the end of `on_every_rank`; deeper calls have higher ones."""
    failure: str | None = None


def _places(mine: _Place) -> list[_Place]:
    import torch.distributed as dist

    _, size = rank_and_size()
    if size == 1:
        return [mine]
    received: list[_Place | None] = [None] * size
    dist.all_gather_object(received, mine, group=_group())
    return received  # type: ignore[return-value]


def _meet() -> None:
    """Before an exchange: MeasurementFailed where another rank has given up and will not take part."""
    mine = _Place(2 * _depth)
    places = _places(mine)
    if any(place.level != mine.level for place in places):
        raise MeasurementFailed(_first_failure(places) or "the ranks are not at the same step")


def _meet_at_the_end(failure: str | None) -> list[str | None]:
    """All ranks' failures, once those that were still about to exchange something have come here too."""
    mine = _Place(2 * _depth + 1, failure)
    while True:
        places = _places(mine)
        if all(place.level == mine.level for place in places):
            return [place.failure for place in places]
        if any(place.level < mine.level for place in places):
            raise MeasurementFailed(_first_failure(places) or "the ranks are not at the same step")


def _first_failure(places: Sequence[_Place]) -> str | None:
    failed = (f"rank {rank} failed: {place.failure}" for rank, place in enumerate(places) if place.failure)
    return next(failed, None)
