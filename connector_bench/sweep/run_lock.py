"""One process at a time in a run's folder: the run itself holds it, also where its sweep was killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"


@contextmanager
def held(folder: Path, say: Callable[[], None]) -> Iterator[int | None]:
    """Hold a run's folder, once nobody else does, and say so where that takes time.

    Gives the descriptor to be handed to the process of the run: the folder is held as long as that lives, whatever
    becomes of this one. None where the system has no such locks.
    """
    try:
        import fcntl
    except ImportError:
        yield None
        return
    number = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say()
            fcntl.flock(number, fcntl.LOCK_EX)
        yield number
    finally:
        os.close(number)
