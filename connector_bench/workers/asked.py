"""How many workers a process has, and of which kind."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

WORKERS = "CONNECTOR_BENCH_WORKERS"
MAX_WORKERS = 16
"""More are used only where the environment variable says so."""

Kind = Literal["processes", "threads", "none"]


@dataclass(frozen=True)
class WorkersAsked:
    """What `CONNECTOR_BENCH_WORKERS` says: `4`, `threads`, `processes:4`, or `none`."""

    number: int
    """0 where the model's own thread is to do all."""
    kind: Kind | None = None
    """None where it is left to the run: processes beside a graphics card, else threads."""


def workers_asked() -> WorkersAsked:
    """What the environment asks for; where it names no number, this process's share of the cores, less one.

    Raises:
        ValueError: the variable is neither a kind nor a whole number from 1 on, nor both with a colon between.
    """
    said = os.environ.get(WORKERS)
    if not said:
        return WorkersAsked(_share_of_cores())
    if said == "none":
        return WorkersAsked(0, "none")
    found = re.fullmatch(r"(?:(processes|threads)(?::(?=\d)|$))?(\d*)", said, re.ASCII)
    if found is None or (found[2] and int(found[2]) < 1):
        raise ValueError(
            f"{WORKERS} is {said!r}; a whole number from 1 on is needed, or processes, threads, processes:N, "
            "threads:N, or none"
        )
    return WorkersAsked(int(found[2]) if found[2] else _share_of_cores(), found[1])  # type: ignore[arg-type]


def worker_count() -> int:
    """How many threads or processes work ahead of the model. Raises what `workers_asked` raises."""
    return workers_asked().number


def _share_of_cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    beside = os.environ.get("LOCAL_WORLD_SIZE", "1")
    share = cores // max(1, int(beside) if beside.isdecimal() else 1)
    return min(max(1, share - 1), MAX_WORKERS)
