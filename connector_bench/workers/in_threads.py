"""Worker threads, and results in the order of what they are made of."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from threading import Barrier
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

SWITCH_SECONDS = 5e-4
"""How long a thread keeps Python's lock from one that waits; at its own 5 ms the model's thread starves."""


class AtOnce(Executor):
    """No thread: work is done where it is handed in."""

    def submit(self, work: Callable[..., R], /, *arguments: Any, **keywords: Any) -> Future[R]:
        """What the work gave or raised."""
        done: Future[R] = Future()
        try:
            done.set_result(work(*arguments, **keywords))
        except Exception as error:
            done.set_exception(error)
        return done


@contextmanager
def worker_threads(count: int) -> Iterator[Executor]:
    """So many threads, each of which computes with one thread of torch's; the others' number stays as it is.

    When the block ends, also by an exception or an interrupt, work that has not begun is dropped and the threads end.
    With a count of 0 there are none, and work is done when it is handed in.
    """
    import torch

    if count == 0:
        yield AtOnce()
        return
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


def no_release() -> None:
    """Of what lies in no worker process's memory: there is nothing to give back."""


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


def in_parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Items, so many together."""
    waiting = iter(items)
    while part := list(islice(waiting, size)):
        yield part
