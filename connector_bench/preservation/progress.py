"""What is being worked on, for whoever waits: nothing is shown of what ends within two seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Timer
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
PATIENCE = 2.0
"""Seconds."""


def steps(items: Iterable[T], title: str, total: int | None = None, unit: str = "block") -> tqdm[T]:
    """The items, with a bar that tells how many are done and how long the rest will take."""
    return tqdm(items, desc=title, total=total, unit=unit, delay=PATIENCE, mininterval=0.5)


@contextmanager
def doing(title: str) -> Iterator[None]:
    """Work that cannot be counted, such as a decomposition of one matrix: a line with its name."""
    line = Timer(PATIENCE, lambda: tqdm.write(f"{title} ...", file=sys.stderr))
    line.daemon = True
    line.start()
    try:
        yield
    finally:
        line.cancel()
