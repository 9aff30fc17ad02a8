"""How much the jackknife overstates the variance of a mean overlap, found in disjoint halves of the same images.

Two disjoint halves of a sample are independent galleries, so half their squared difference is unbiased for the
variance of a mean overlap over galleries of n / 2 images, whatever the shape of the statistic. A jackknife within the
halves claims to estimate the same, and counts a part that hangs on q images together q times (Efron and Stein, Annals
of Statistics 9 (1981) 586). The ratio of the two, over many random halvings, corrects the jackknife of the whole set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int

from connector_bench.preservation.delete_one import jackknife_variance
from connector_bench.preservation.halves import random_halves

FEWEST_HALVINGS, MOST_HALVINGS = 30, 100
_ELEMENTS = 2**28
_JACKKNIFED = 4
_LEAST = 0.25


def depth(k: int, n: int) -> int:
    """Columns of neighbour lists that hold `k + 1` of any half of the gallery, at six standard deviations."""
    wanted = k + 1
    return min(n - 1, int(np.ceil((3 + np.sqrt(9 + 2 * wanted)) ** 2)))


def halvings(n: int, columns: int) -> int:
    """Random halvings whose differences are averaged: 100, fewer for very long lists."""
    return int(np.clip(_ELEMENTS // (n * columns), FEWEST_HALVINGS, MOST_HALVINGS))


def true_share(
    pre_neighbours: Int[np.ndarray, "n c"],
    post_neighbours: Int[np.ndarray, "n c"],
    ks: Sequence[int],
    *,
    seed: int = 0,
) -> dict[int, float]:
    """True variance over jackknife variance of the mean overlap in half galleries, for every k that a half can hold.

    Lists have `depth(max(ks), n)` columns. The share is at most 1, since the jackknife's expectation is never too
    small, and at least 1/4, its value where common neighbours are rare coincidences: each hangs on the query, on the
    neighbour, and as much again on the two images that would make room for other coincidences.

    Raises:
        ValueError: fewer columns.
    """
    n, columns = pre_neighbours.shape
    ks = [k for k in ks if k + 1 < n // 2]
    if not ks:
        return {}
    if columns < depth(max(ks), n):
        raise ValueError(
            f"halves at k = {max(ks)} need {depth(max(ks), n)} neighbours of every image, got {columns}"
        )
    common = CommonNeighbours.of(pre_neighbours, post_neighbours)
    trials = halvings(n, columns)
    gaps, claimed = np.empty((trials, len(ks))), np.empty((_JACKKNIFED, 2, len(ks)))
    for trial, half in enumerate(random_halves(n, trials, seed)):
        gaps[trial] = common.gap(half, ks)
        if trial < _JACKKNIFED:
            for place, members in enumerate((half, ~half)):
                pre, post = (_among(members, side, max(ks) + 1) for side in (pre_neighbours, post_neighbours))
                claimed[trial, place] = [jackknife_variance(pre, post, k) for k in ks]
    true, jackknife = np.square(gaps).mean(axis=0) / 2, claimed.mean(axis=(0, 1))
    share = np.divide(true, jackknife, out=np.ones(len(ks)), where=jackknife > 0)
    return dict(zip(ks, np.clip(share, _LEAST, 1).tolist(), strict=True))


def halving_gaps(
    pre_neighbours: Int[np.ndarray, "n c"],
    post_neighbours: Int[np.ndarray, "n c"],
    ks: Sequence[int],
    *,
    seed: int = 0,
) -> dict[int, Float64[np.ndarray, " halvings"]]:
    """Mean overlap in one half less that in the other, for every k that a half can hold, 100 halvings at most.

    The halvings depend on n and the seed alone, so gaps of two connectors on the same images belong together pair by
    pair: a quarter of the mean square of their difference is the variance of the connectors' paired difference, the
    gallery's part in it included. Lists as in `true_share`.
    """
    n, columns = pre_neighbours.shape
    ks = [k for k in ks if k + 1 < n // 2]
    if not ks:
        return {}
    common = CommonNeighbours.of(pre_neighbours, post_neighbours)
    gaps = np.stack([common.gap(half, ks) for half in random_halves(n, halvings(n, columns), seed)])
    return dict(zip(ks, gaps.T, strict=True))


@dataclass(frozen=True)
class CommonNeighbours:
    """Both sides' lists, and where the same neighbour stands in both: flat positions in each."""

    pre: Int[np.ndarray, "n c"]
    post: Int[np.ndarray, "n c"]
    at_pre: Int[np.ndarray, " m"]
    at_post: Int[np.ndarray, " m"]

    @classmethod
    def of(cls, pre: Int[np.ndarray, "n c"], post: Int[np.ndarray, "n c"]) -> CommonNeighbours:
        """Of lists that are equally long."""
        row = np.arange(len(pre), dtype=np.int64)[:, None] * len(pre)
        _, at_pre, at_post = np.intersect1d(row + pre, row + post, assume_unique=True, return_indices=True)
        return cls(pre, post, at_pre, at_post)

    def gap(self, half: Bool[np.ndarray, " n"], ks: Sequence[int]) -> Float64[np.ndarray, " ks"]:
        """Difference of the two halves' mean overlaps, each half its own gallery, for every k."""
        queries = self.at_pre // self.pre.shape[1]
        inside = np.flatnonzero(half[self.pre.ravel()[self.at_pre]] == half[queries])
        met = np.zeros(len(inside), dtype=np.int16)
        for lists, places in ((self.pre, self.at_pre), (self.post, self.at_post)):
            rank = np.cumsum(half[lists] == half[:, None], axis=1, dtype=np.int16)
            np.maximum(met, rank.ravel()[places[inside]], out=met)
        mine = half[queries[inside]]
        sizes = int(half.sum()), int((~half).sum())
        first, second = (
            np.bincount(met[chosen], minlength=max(ks) + 1).cumsum()[list(ks)] / size
            for chosen, size in zip((mine, ~mine), sizes, strict=True)
        )
        return (first - second) / np.asarray(ks)


def _among(members: Bool[np.ndarray, " n"], found: Int[np.ndarray, "n c"], k: int) -> Int[np.ndarray, "m k"]:
    """The first `k` neighbours of each member among the members, by their place among them."""
    candidates = np.where(members, np.cumsum(members) - 1, -1)[found[members]]
    order = np.argsort(candidates < 0, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(candidates, order, axis=1)
