"""The folder of a run's state and artefacts, which the run has for itself alone while it lives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from loguru import logger

from connector_bench.atomic_files import make_folder, remove_leftovers
from connector_bench.processes import on_first_rank

LOCK = ".lock"
IN_USE = "folder_in_use"
"""In a task's record where another run has its folder, so that not even the record is left there."""
WAIT, WAIT_VARIABLE = "wait", "CONNECTOR_BENCH_WAIT"
LONGEST_WAIT = 24 * 3600.0
"""Seconds; ranks wait two days for one another."""
REMINDED = 60.0
"""Seconds after which a run that waits says so again."""


def seconds_to_wait(given: Mapping[str, Any]) -> float:
    """How long to wait for another run that has the folder: by the environment, else by a task's options, else 0.

    ValueError naming what is allowed.
    """
    said = os.environ.get(WAIT_VARIABLE)
    name, value = (WAIT_VARIABLE, said) if said else (WAIT, given.get(WAIT, 0))
    try:
        seconds = float(value) if not isinstance(value, bool) else -1
    except (TypeError, ValueError):
        seconds = -1
    if not 0 <= seconds <= LONGEST_WAIT:
        raise ValueError(f"{name} must be a number of seconds from 0 to {LONGEST_WAIT:.0f}, got {value!r}")
    return seconds


@dataclass(frozen=True)
class StateFolder:
    """Where a run keeps its state and artefacts."""

    path: Path | None
    """None where nothing is to be kept."""
    trouble: str | None = None
    """Why nothing is kept although a folder was named."""
    lock: FileLock | None = None
    """Held by rank 0."""
    refused: Path | None = None
    """What another run has."""

    @classmethod
    def claimed(cls, path: Path | None, wait: float, before: StateFolder | None = None) -> StateFolder:
        """Lock a folder for this run, on all ranks together, and clear it of what dead processes left half written.

        Where it cannot be written, or another run has it and keeps it for `wait` seconds, the run goes on without.
        What this run was refused `before` is not waited for again.
        """
        if path is None:
            return cls(None)
        if before is not None and before.refused == path:
            return before
        found: list[FileLock] = []

        def claim(_: object) -> tuple[str | None, bool]:
            try:
                make_folder(path)
                lock = FileLock(path / LOCK, is_singleton=True)
                _acquire(lock, path, wait)
                remove_leftovers(path)
            except Timeout:
                still = f", still after {wait:g} s" if wait else ""
                return (
                    f"{path} is in use by another run{still}: this one keeps no state and leaves no pictures there; "
                    f"{WAIT_VARIABLE}=SECONDS waits for the other"
                ), True
            except (OSError, NotImplementedError) as error:
                return f"this run keeps no state and leaves no pictures: {error}", False
            found.append(lock)
            return None, False

        trouble, in_use = on_first_rank(claim, None)
        if trouble is not None:
            return cls(None, trouble, refused=path if in_use else None)
        return cls(path, None, found[0] if found else None)


def _acquire(lock: FileLock, path: Path, wait: float) -> None:
    """Take the lock; where another run has it, say so each minute and wait. Timeout where it is kept for too long."""
    left, patience = wait, 0.0
    while True:
        try:
            lock.acquire(timeout=patience)
            return
        except Timeout:
            left -= patience
            if left <= 0:
                raise
            logger.warning(f"{path} is in use by another run: waiting for it, {left:.0f} s at most")
            patience = min(left, REMINDED)
