"""Where a run's time goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter


@dataclass
class Timing:
    """Seconds by what they were spent on; worker threads may add at the same time, so that sums exceed the clock's."""

    seconds: dict[str, float] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def add(self, what: str, seconds: float) -> None:
        """So many more seconds went to this."""
        with self._lock:
            self.seconds[what] = self.seconds.get(what, 0.0) + seconds

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """The block's seconds go to this, also where it fails."""
        start = perf_counter()
        try:
            yield
        finally:
            self.add(what, perf_counter() - start)

    def as_record(self) -> dict[str, float]:
        """Ready for JSON, in hundredths of a second."""
        return {what: round(seconds, 2) for what, seconds in self.seconds.items()}
