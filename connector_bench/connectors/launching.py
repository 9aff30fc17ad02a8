"""Batches that a model is still computing, and work beside it: nothing on the host waits for the batch that follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING

from connector_bench.types import TokenBatch

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Launched:
    """A batch that the model may still be computing."""

    tokens: TokenBatch
    seconds: float
    """Of the host, from its inputs to here; a graphics card's own are told once it is done."""
    _events: tuple[torch.cuda.Event, torch.cuda.Event] | None = None
    """Of a graphics card: before and behind the batch."""

    @classmethod
    def of(cls, run: Callable[[], TokenBatch], device: torch.device) -> Launched:
        """Have the model run; on a graphics card this returns before the batch is done. Raises what `run` raises."""
        import torch

        start, before = perf_counter(), None
        if device.type == "cuda":
            before = torch.cuda.Event(enable_timing=True)
            before.record(torch.cuda.current_stream(device))
        tokens = run()
        if before is None or any(side.device != device for side in tokens.sides):
            return cls(tokens, perf_counter() - start)
        behind = torch.cuda.Event(enable_timing=True)
        behind.record(torch.cuda.current_stream(device))
        return cls(tokens, perf_counter() - start, (before, behind))

    @contextmanager
    def beside_the_next(self) -> Iterator[None]:
        """What the block does on a graphics card waits for this batch alone, not for what the model was given since."""
        import torch

        if self._events is None:
            yield
            return
        device = self.tokens.pre.device
        aside = _aside(device)
        aside.wait_event(self._events[1])
        for side in self.tokens.sides:
            side.record_stream(aside)
        with torch.cuda.stream(aside):
            yield

    @property
    def followed(self) -> bool:
        """Whether `took` waits until the device is done."""
        return self._events is not None

    def took(self) -> float:
        """Seconds of the device that ran it; waits for it."""
        if self._events is None:
            return self.seconds
        before, behind = self._events
        behind.synchronize()
        return before.elapsed_time(behind) / 1000


def settle(device: torch.device) -> None:
    """Wait until a graphics card has done all that it was given."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rejoin(device: torch.device) -> None:
    """What comes next on a graphics card sees all that was done beside the model."""
    import torch

    if device.type == "cuda":
        torch.cuda.current_stream(device).wait_stream(_aside(device))


@cache
def _aside(device: torch.device) -> torch.cuda.Stream:
    """A stream of a graphics card's that overtakes the model's."""
    import torch

    return torch.cuda.Stream(device, priority=-1)
