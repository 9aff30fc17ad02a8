"""Worker threads that decode and prepare pictures ahead of the model; what they give comes in order."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

WORKERS = "CONNECTOR_BENCH_WORKERS"
MAX_WORKERS = 16
"""More are used only where the environment variable says so."""
SWITCH_SECONDS = 5e-4
"""How long a thread keeps Python's lock from one that waits; at its own 5 ms the model's thread starves."""


def worker_count() -> int:
    """Threads that work ahead: `CONNECTOR_BENCH_WORKERS`, else this process's share of the cores, less one.

    Raises:
        ValueError: the variable is no whole number from 1 on.
    """
    said = os.environ.get(WORKERS)
    if said:
        if not said.isdecimal() or int(said) < 1:
            raise ValueError(f"{WORKERS} is {said!r}; a whole number from 1 on is needed")
        return int(said)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    beside = os.environ.get("LOCAL_WORLD_SIZE", "1")
    share = cores // max(1, int(beside) if beside.isdecimal() else 1)
    return min(max(1, share - 1), MAX_WORKERS)


@contextmanager
def worker_threads(count: int) -> Iterator[Executor]:
    """So many threads, each of which computes with one thread of torch's; the others' number stays as it is.

    When the block ends, also by an exception or an interrupt, work that has not begun is dropped and the threads end.
    """
    import torch

    pool = ThreadPoolExecutor(count, thread_name_prefix="connector_bench")
    threads, patience = torch.get_num_threads(), sys.getswitchinterval()
    started = Barrier(count + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        started.wait()

    try:
        for _ in range(count):
            pool.submit(begin)
        started.wait()
        torch.set_num_threads(threads)  # what it sets beside the calling thread's own holds for the process
        sys.setswitchinterval(SWITCH_SECONDS)
        yield pool
    finally:
        started.abort()
        pool.shutdown(wait=True, cancel_futures=True)
        sys.setswitchinterval(patience)


def in_order(pool: Executor, work: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """`work` of every item, in the items' order, begun for at most so many that have not been handed out.

    Items are asked for by the thread that takes the results. Raises what `work` and the items raise.
    """
    begun: deque[Future[R]] = deque()
    for item in items:
        begun.append(pool.submit(work, item))
        if len(begun) >= ahead:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()
