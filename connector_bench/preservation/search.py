"""Exact nearest neighbours of every vector among all the others, in less time than one fp32 search takes.

Two stages. A *coarse* search in fp32 hands out a few more candidates than asked for. Then every candidate
whose place the bound on fp32 rounding leaves open gets its distance anew in float64, and ties go to the lower
index. A row whose last place could still be taken by a vector that is no candidate (many duplicates) is
searched again over the whole gallery. Both stages work in blocks: the gallery is never copied whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import numpy as np
from jaxtyping import Float, Int, Int32
from threadpoolctl import ThreadpoolController

from connector_bench.preservation import coarse
from connector_bench.preservation.exact import rank, search_whole_gallery
from connector_bench.preservation.rounding import Lengths
from connector_bench.preservation.space import Space, checked

_MARGIN = 6
_RANKED_ROWS = 256


def neighbours(
    vectors: Float[np.ndarray, "n d"], k: int, distance: str = "l2", *, device: str = "cpu"
) -> Int32[np.ndarray, "n k"]:
    """Indices of each vector's `k` nearest others, nearest first; ties go to the lower index.

    A vector is left out of its own list by its index, so that a duplicate of it is a neighbour like any
    other. The result is that of a brute-force search in float64 over the vectors as fp32. Distances:

    - `l2`: Euclidean;
    - `cosine`: 1 - cosine similarity; zero vectors, which have no direction, count as one direction of their
      own, at distance 0 from one another and 1 from every other vector;
    - `l2_standardized`: Euclidean after each dimension is divided by its standard deviation over the gallery
      (population, float64). A dimension that varies by no more than fp32 rounding counts as constant and is
      dropped.

    `device` is `cpu`, `torch-cpu`, or a torch device such as `cuda` or `cuda:1`; the indices are the same.

    Raises:
        ValueError: vectors that are not a 2-D array of finite numbers, fewer than two of them, `k` outside
            1..n-1, or an unknown distance; the message names what arrived.
    """
    space = Space.of(checked(vectors, k, distance), distance)
    lengths = Lengths.of(space)
    index, unsure = _ranked_candidates(space, lengths, k, device)
    found = np.ascontiguousarray(index[:, :k])
    search_whole_gallery(space, lengths, unsure, found)
    return found


def _ranked_candidates(
    space: Space, lengths: Lengths, k: int, device: str
) -> tuple[Int32[np.ndarray, "n c"], Int[np.ndarray, " r"]]:
    """At least `k` candidates a row, the first `k` in order, and the rows that may lack a true neighbour."""
    count = min(len(space.vectors) - 1, k + _MARGIN)
    with _threads() as (threads, number):
        if device == "cpu":
            nearest = coarse.on_cpu(space, lengths, count, threads, _block(space, number))
        else:
            nearest = coarse.on_torch(space, lengths, count, device.removeprefix("torch-"))
        parts = space.parts(_RANKED_ROWS)
        certain = list(threads.map(lambda rows: rank(space, lengths, nearest, rows, k), parts))
    return nearest.index, np.flatnonzero(~np.concatenate(certain))


def _block(space: Space, threads: int) -> int:
    """Rows of a block of distances: all threads' blocks, of which each needs three, take a 25th of the
    vectors' memory."""
    rows = (space.vectors.nbytes / 25 / (3 * 4 * threads)) ** 0.5
    return int(np.clip(rows, 256, 1024)) // 32 * 32


@contextmanager
def _threads() -> Iterator[tuple[Executor, int]]:
    """As many threads as OpenMP would use, each with a processor of its own: inside them BLAS has but one."""
    import faiss

    one = (faiss.omp_set_num_threads, (1,))
    number = faiss.omp_get_max_threads()
    with (
        _libraries().limit(limits=1, user_api="blas"),
        ThreadPoolExecutor(number, "neighbours", *one) as threads,
    ):
        yield threads, number


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()
