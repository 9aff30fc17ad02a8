"""Ranks that meet before they exchange anything, so that none waits for one that has given up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from connector_bench.processes.group import (
    MeasurementFailed,
    cpu_group,
    error_text,
    patiently,
    rank_and_size,
)

T = TypeVar("T")


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
    patiently(lambda: dist.all_gather_object(received, mine, group=cpu_group()))
    return received  # type: ignore[return-value]


def meet() -> None:
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
