"""What is being worked on, for whoever waits: nothing is shown of what ends within two seconds, nothing off rank 0."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, TypeVar

from tqdm import tqdm

from connector_bench.processes import rank_and_size

T = TypeVar("T")
PATIENCE = 2.0
"""Seconds."""
TICK, TICK_IN_A_LOG = 1.0, 5.0
"""Seconds between two states of a bar that has nothing to count, on a terminal and elsewhere."""


def steps(items: Iterable[T], title: str, total: int | None = None, unit: str = "block") -> tqdm[T]:
    """The items, with a bar that tells how many are done and how long the rest will take."""
    off = rank_and_size()[0] != 0
    return tqdm(items, desc=title, total=total, unit=unit, delay=PATIENCE, mininterval=0.5, disable=off)


_init = tqdm.__init__


class _LoneBar(tqdm):
    def __init__(self, *args: Any, **options: Any) -> None:
        _init(self, *args, **options)


def lone_bar(items: Iterable[T], title: str, unit: str = "question") -> tqdm[T]:
    """As `steps`, shown also while others are hidden."""
    off = rank_and_size()[0] != 0
    return _LoneBar(items, desc=title, unit=unit, delay=PATIENCE, mininterval=0.5, disable=off)


@contextmanager
def other_bars_hidden() -> Iterator[None]:
    """No bar but `lone_bar`, of whomever: wrappers of lmms-eval draw one a call."""

    def __init__(self: Any, *args: Any, **options: Any) -> None:
        _init(self, *args, **{**options, "disable": True})

    tqdm.__init__ = __init__
    try:
        yield
    finally:
        tqdm.__init__ = _init


@contextmanager
def doing(title: str) -> Iterator[None]:
    """Work that cannot be counted, such as a decomposition: its name and the time so far, gone when it is done."""
    if rank_and_size()[0] != 0:
        yield
        return
    done = Event()
    ticking = Thread(target=_tick, args=(title, done), daemon=True)
    ticking.start()
    try:
        yield
    finally:
        done.set()
        ticking.join()


def _tick(title: str, done: Event) -> None:
    if done.wait(PATIENCE):
        return
    with tqdm(desc=title, bar_format="{desc}: {elapsed}", leave=False) as bar:
        bar.start_t -= PATIENCE
        bar.refresh()
        while not done.wait(TICK if sys.stderr.isatty() else TICK_IN_A_LOG):
            bar.refresh()
