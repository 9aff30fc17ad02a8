"""Exact nearest neighbours of every vector among all the others, in less time than one fp32 search takes.

Two stages. A *coarse* search in fp32 hands out a few more candidates than asked for. Then every candidate
whose place the bound on fp32 rounding leaves open gets its distance anew in float64, and ties go to the lower
index. A row whose last place could still be taken by a vector that is no candidate (many duplicates) is
searched again over the whole gallery. Both stages work in blocks: the gallery is never copied whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from hashlib import sha256

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int32
from threadpoolctl import ThreadpoolController

from connector_bench.preservation.neighbours import coarse, on_device
from connector_bench.preservation.neighbours.space import RoundingBounds, Space, checked
from connector_bench.progress import steps

_MARGIN = 6
_RANKED_ROWS = 256
_BATCH = 256


def neighbours(
    vectors: Float[np.ndarray, "n d"],
    k: int,
    distance: str = "l2",
    *,
    device: str = "cpu",
    title: str = "searching",
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

    `device` is `cpu`, `torch-cpu`, or a torch device such as `cuda` or `cuda:1`; the indices are the same. Where a
    device has too little memory a warning says so, and the CPU searches. `title` names the bar of a long search.

    Raises:
        ValueError: vectors that are not a 2-D array of finite numbers, fewer than two of them, `k` outside
            1..n-1, or an unknown distance; the message names what arrived.
    """
    points = checked(vectors, k, distance)
    count = min(len(points) - 1, k + _MARGIN)
    if device != "cpu":
        import torch

        try:
            search, found, unsure = on_device.ranked_candidates(
                points, k, count, distance, device.removeprefix("torch-"), title
            )
            _search_whole_gallery(search.within_reach, points, unsure, found, title)
            return found
        except torch.cuda.OutOfMemoryError:
            on_device.warn_of_memory(device, points)
    space = Space.of(points, distance)
    bounds = RoundingBounds.of(space)
    index, unsure = _ranked_candidates(space, bounds, k, count, title)
    found = np.ascontiguousarray(index[:, :k])
    _search_whole_gallery(partial(_within_reach, space, bounds), points, unsure, found, title)
    return found


def _ranked_candidates(
    space: Space, bounds: RoundingBounds, k: int, count: int, title: str
) -> tuple[Int32[np.ndarray, "n c"], Int[np.ndarray, " r"]]:
    """`count` candidates a row, the first `k` in order, and the rows that may lack a true neighbour."""
    with threads() as (pool, number):
        candidates = coarse.nearest(space, bounds, count, pool, _block(space, number), title)
        parts = space.parts(_RANKED_ROWS)
        ranked = pool.map(lambda rows: _rank(space, bounds, candidates, rows, k), parts)
        certain = list(steps(ranked, f"{title}, exact order", total=len(parts)))
    return candidates.index, np.flatnonzero(~np.concatenate(certain))


def _block(space: Space, threads: int) -> int:
    """Rows of a block of distances: all threads' blocks, of which each needs three, take a 25th of the
    vectors' memory."""
    rows = (space.vectors.nbytes / 25 / (3 * 4 * threads)) ** 0.5
    return int(np.clip(rows, 256, 1024)) // 32 * 32


@contextmanager
def threads() -> Iterator[tuple[Executor, int]]:
    """As many threads as OpenMP would use, each with a processor of its own: inside them BLAS has but one."""
    import faiss

    one = (faiss.omp_set_num_threads, (1,))
    number = faiss.omp_get_max_threads()
    with (
        _libraries().limit(limits=1, user_api="blas"),
        ThreadPoolExecutor(number, "neighbours", *one) as pool,
    ):
        yield pool, number


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def _rank(
    space: Space, bounds: RoundingBounds, candidates: coarse.Candidates, rows: slice, k: int
) -> Bool[np.ndarray, " q"]:
    """Put the candidates of some rows in their true order, and say which rows surely have the true `k` first.

    Only candidates whose place the likely bound on fp32 rounding leaves open get their distance anew, in
    float64. These show whether the bound holds: where an error exceeds half of it, the worst-case bound stands
    in.
    """
    distance, index = 2 * candidates.half[rows].astype(np.float64), candidates.index[rows]
    limit = distance.max(axis=1)  # whatever is no candidate lies at this fp32 distance or beyond
    order = np.argsort(distance, axis=1)
    distance, index = (np.take_along_axis(array, order, 1) for array in (distance, index))
    for worst in (False, True):
        error = bounds.error(rows, limit, worst=worst)
        row, place = np.nonzero(_undecided(distance, error, k))
        true = space.distances(rows.start + row, index[row, place])
        if (2 * np.abs(distance[row, place] - true) <= error[row]).all():
            break
    distance[row, place] = true
    order = _ordered(distance, index)[:, :k]
    candidates.index[rows, :k] = np.take_along_axis(index, order, 1)
    last = np.take_along_axis(distance, order[:, -1:], 1)[:, 0]
    return (limit > last + 2 * error) | (index.shape[1] == len(space.vectors) - 1)


def _undecided(
    distance: Float64[np.ndarray, "q c"], error: Float64[np.ndarray, " q"], k: int
) -> Bool[np.ndarray, "q c"]:
    """Candidates among which rounding could change the order of the first `k`; `distance` rises along a
    row."""
    close = np.diff(distance, axis=1) <= 2 * error[:, None]
    close[:, k - 1 :] = np.logical_and.accumulate(close[:, k - 1 :], axis=1)
    undecided = np.zeros(distance.shape, dtype=bool)
    undecided[:, :-1] |= close
    undecided[:, 1:] |= close
    return undecided


def _ordered(distance: Float64[np.ndarray, "q c"], index: Int32[np.ndarray, "q c"]) -> Int[np.ndarray, "q c"]:
    """Order of each row by distance, then index; only rows with ties take the slower sort by both."""
    order = np.argsort(distance, axis=1)
    ties = np.flatnonzero((np.diff(np.take_along_axis(distance, order, 1), axis=1) == 0).any(axis=1))
    order[ties] = np.lexsort((index[ties], distance[ties]), axis=1)
    return order


Within = Callable[[Int[np.ndarray, " r"], Int32[np.ndarray, "r k"]], Iterable[Int[np.ndarray, " m"]]]
"""For each row, in their true order, vectors (itself too) as near as the farthest of `known` ones: at least `k + 1`."""


def _search_whole_gallery(
    within: Within,
    vectors: Float32[np.ndarray, "n d"],
    rows: Int[np.ndarray, " r"],
    found: Int32[np.ndarray, "n k"],
    title: str,
) -> None:
    """Set the lists in `found` of some rows anew, from all vectors."""
    batches = _equal(vectors, rows)
    for groups in steps(batches, f"{title}, ties", total=len(batches)):
        first = np.array([members[0] for members in groups])
        for members, others in zip(groups, within(first, found[first]), strict=True):
            for row in members:
                found[row] = others[others != row][: found.shape[1]]


def _equal(vectors: Float32[np.ndarray, "n d"], rows: Int[np.ndarray, " r"]) -> list[list[list[int]]]:
    """Batches of groups of rows; those of a group hold the same vector, so that one search serves them."""
    groups: dict[bytes, list[int]] = {}
    for row in rows.tolist():
        groups.setdefault(sha256(vectors[row]).digest(), []).append(row)
    found = list(groups.values())
    return [found[start : start + _BATCH] for start in range(0, len(found), _BATCH)]


def _within_reach(
    space: Space, bounds: RoundingBounds, rows: Int[np.ndarray, " r"], known: Int32[np.ndarray, "r k"]
) -> Iterator[Int[np.ndarray, " m"]]:
    """For each row, in their true order, all vectors (itself too) as near as the farthest of `known` ones, and
    some beyond."""
    present = space.distances(np.repeat(rows, known.shape[1]), known.ravel()).reshape(known.shape)
    reach = present.max(axis=1)
    reach += bounds.error(rows, reach, worst=True)
    hits = []
    for part in space.parts(_BATCH):
        half = coarse.half_distances(space, bounds, rows, part)
        place, other = np.nonzero(2 * half.astype(np.float64) <= reach[:, None])
        hits.append((place, part.start + other))
    place, other = (np.concatenate(side) for side in zip(*hits, strict=True))
    order = np.lexsort((other, space.distances(rows[place], other), place))
    return iter(np.split(other[order], np.cumsum(np.bincount(place, minlength=len(rows)))[:-1]))
