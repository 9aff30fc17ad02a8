"""The float64 stage of a self-search: candidates in their true order, and rows whose candidates do not do."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import numpy as np
from jaxtyping import Bool, Float64, Int, Int32

from connector_bench.preservation.coarse import Nearest, half_distances
from connector_bench.preservation.rounding import Lengths
from connector_bench.preservation.space import Space

_BATCH = 256


def rank(space: Space, lengths: Lengths, nearest: Nearest, rows: slice, k: int) -> Bool[np.ndarray, " q"]:
    """Put the candidates of some rows in their true order, and say which rows surely have the true `k` first.

    Only candidates whose place the likely bound on fp32 rounding leaves open get their distance anew, in
    float64. These show whether the bound holds: where an error exceeds half of it, the worst-case bound stands
    in.
    """
    distance, index = 2 * nearest.half[rows].astype(np.float64), nearest.index[rows]
    limit = distance.max(axis=1)  # whatever is no candidate lies at this fp32 distance or beyond
    order = np.argsort(distance, axis=1)
    distance, index = (np.take_along_axis(array, order, 1) for array in (distance, index))
    for worst in (False, True):
        error = lengths.error(rows, limit, worst=worst)
        row, place = np.nonzero(_undecided(distance, error, k))
        true = space.distances(rows.start + row, index[row, place])
        if (2 * np.abs(distance[row, place] - true) <= error[row]).all():
            break
    distance[row, place] = true
    order = _ordered(distance, index)[:, :k]
    nearest.index[rows, :k] = np.take_along_axis(index, order, 1)
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


def search_whole_gallery(
    space: Space, lengths: Lengths, rows: Int[np.ndarray, " r"], found: Int32[np.ndarray, "n k"]
) -> None:
    """Set the lists in `found` of some rows anew, from all vectors."""
    for groups in _equal(space, rows):
        first = np.array([members[0] for members in groups])
        for members, others in zip(groups, _within_reach(space, lengths, first, found[first]), strict=True):
            for row in members:
                found[row] = others[others != row][: found.shape[1]]


def _equal(space: Space, rows: Int[np.ndarray, " r"]) -> Iterator[list[list[int]]]:
    """Batches of groups of rows; those of a group hold the same vector, so that one search serves them."""
    groups: dict[bytes, list[int]] = {}
    for row in rows.tolist():
        groups.setdefault(sha256(space.vectors[row]).digest(), []).append(row)
    found = list(groups.values())
    return (found[start : start + _BATCH] for start in range(0, len(found), _BATCH))


def _within_reach(
    space: Space, lengths: Lengths, rows: Int[np.ndarray, " r"], known: Int32[np.ndarray, "r k"]
) -> Iterator[Int[np.ndarray, " m"]]:
    """For each row, in their true order, all vectors (itself too) as near as the farthest of `known` ones, and
    some beyond."""
    present = space.distances(np.repeat(rows, known.shape[1]), known.ravel()).reshape(known.shape)
    reach = present.max(axis=1)
    reach += lengths.error(rows, reach, worst=True)
    hits = []
    for part in space.parts(_BATCH):
        half = half_distances(space, lengths, rows, part)
        place, other = np.nonzero(2 * half.astype(np.float64) <= reach[:, None])
        hits.append((place, part.start + other))
    place, other = (np.concatenate(side) for side in zip(*hits, strict=True))
    order = np.lexsort((other, space.distances(rows[place], other), place))
    return iter(np.split(other[order], np.cumsum(np.bincount(place, minlength=len(rows)))[:-1]))
