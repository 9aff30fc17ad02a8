"""Ending before the work is done: SIGTERM, SIGINT, or the loss of another process.

What is being taken in is taken in to its end, what was gathered is written, one sentence is said, and the process is
over. With several processes it ends at once, since open connections may block the interpreter's own end.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakMethod

from loguru import logger

SIGNALS = (signal.SIGTERM, signal.SIGINT)
INSIST = 10.0
"""Seconds after which a second signal ends the process without waiting for what is being written."""
GRACE = 20.0
"""Seconds for what was gathered to be written once another process is lost; a long computation is not waited for."""


class Ending:
    """One run's readiness to end; at most one at a time in a process."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self.last_word: Callable[[int], None] = lambda number: None
        """Tells the other processes that a signal ends this one."""
        self.held = 0
        """How many things are going on that must not be broken off."""
        self.keepers: list[WeakMethod[Any]] = []
        self.resumable = False
        self._why: str | None = None
        self._code = 0
        self._since = 0.0
        self._leaving = False
        self._answers = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Ending:
        global _current
        _current = self
        if self._answers:
            self._before = {number: signal.signal(number, self._told) for number in SIGNALS}
        return self

    def __exit__(self, *failure: object) -> None:
        global _current
        _current = None
        if self._answers:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def signalled_elsewhere(self, number: int) -> None:
        """Another process was told to end by this signal; so is this one. Called by the watch's thread."""
        if self._answers:
            signal.pthread_kill(threading.main_thread().ident or 0, number)

    def lost(self, rank: int, how: str) -> None:
        """Another process has ended without a word. Called by the watch's thread; does not return."""
        if self._why is None:
            self._why, self._code = f"rank {rank} of {self.size} {how}", 1
            self._since = time.monotonic()
        if self._answers:
            signal.pthread_kill(threading.main_thread().ident or 0, SIGNALS[0])
            time.sleep(GRACE)
            while self._leaving:  # it is still writing
                time.sleep(1)
        self._over(kept=self.resumable)

    def _told(self, number: int, frame: object) -> None:
        if self._why is None:
            self._why, self._code = f"{signal.Signals(number).name} came", 128 + number
            self._since = time.monotonic()
        elif self._code != 1 and time.monotonic() - self._since > INSIST:
            os._exit(self._code)
        if not self.held:
            self.end_if_told()

    def end_if_told(self) -> None:
        """Write what was gathered and end, where that was asked for."""
        if self._why is None or self._leaving:
            return
        self._leaving = True
        kept = self.resumable
        for keeper in self.keepers:
            keep = keeper()
            with suppress(Exception):
                kept = kept and (keep is None or keep())
        self.last_word(self._code - 128)
        self._over(kept)

    def _over(self, kept: bool) -> None:
        then = "goes on from what is on the disk" if kept else "begins anew: nothing to go on from was kept"
        if self._code == 1 or self.rank == 0:
            whose = f"rank {self.rank} ends: " if self.size > 1 else "the run ends: "
            logger.error(f"{whose}{self._why}. The same command {then}.")
        if self.size == 1:
            raise SystemExit(self._code)
        for child in multiprocessing.active_children():
            child.terminate()
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(self._code)


_current: Ending | None = None


def leave_behind(keep: Callable[[], bool]) -> None:
    """Have a method called before an early end: it writes what is not written yet, and says whether all is."""
    if _current is not None:
        _current.resumable = True
        _current.keepers.append(WeakMethod(keep))


@contextmanager
def unbroken() -> Iterator[None]:
    """What goes on inside is not broken off when the run is told to end; the run ends after it."""
    ending = _current
    if ending is None:
        yield
        return
    ending.held += 1
    try:
        yield
    finally:
        ending.held -= 1
        if not ending.held:
            ending.end_if_told()


def wait_for_the_end() -> None:
    """Give the watch time to find out which process is gone, and to end this one."""
    if _current is not None and _current.size > 1:
        time.sleep(GRACE)
