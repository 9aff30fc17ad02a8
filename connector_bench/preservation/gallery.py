"""How overlap varies with the images that happen to make up the gallery.

A bootstrap over images holds the gallery fixed. That is right for comparing two connectors on the same
images, and too narrow for a claim about other images: a hub that is lost is lost by all its neighbours at
once, so that per-image overlaps are not independent. Measured on 100 Gaussian sets of 400 vectors (20-d,
shuffled or noisy pairs): the 95 % interval over images covers the expected overlap in 85 % of them at k = 10
and 60 % at k = 50, the interval over sub-sampled galleries, which is conservative, in 96-100 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from connector_bench.intervals import Score, subsampled_gallery
from connector_bench.preservation.knn import chance, overlap
from connector_bench.preservation.search import neighbours


def gallery_overlap(
    pre: Float[np.ndarray, "n d_pre"],
    post: Float[np.ndarray, "n d_post"],
    *,
    ks: Sequence[int] = (10, 50, 100),
    distance: str = "l2",
    fraction: float = 0.5,
    repeats: int = 50,
    seed: int = 0,
    confidence: float = 0.95,
    device: str = "cpu",
) -> dict[int, Score]:
    """Mean overlap in galleries of `fraction * n` images, for each k, with an interval for the expectation
    over such galleries.

    Both sides are searched once, deep enough that each subset's neighbours are found among those of the whole
    set. The scores' n is the subset's size: overlap falls as galleries grow, so they are not those of the
    whole set.

    Raises:
        ValueError: no k, a k that a subset cannot hold, and what `neighbours` and `subsampled_gallery`
            refuse.
    """
    n = len(pre)
    size = round(fraction * n)
    if len(post) != n:
        raise ValueError(f"pre and post hold the same images, got {n} and {len(post)} vectors")
    if not ks or not 1 <= min(ks) <= max(ks) < size:
        raise ValueError(f"every k must lie in 1..m-1, got ks={tuple(ks)} with subsets of m={size}")
    deepest = max(ks)
    depth = min(n - 1, int(np.ceil((deepest + 8 * deepest**0.5 + 8) / fraction)))
    sides = [(side, neighbours(side, depth, distance, device=device)) for side in (pre, post)]

    @cache
    def lists(chosen: bytes) -> list[Int[np.ndarray, "m k"]]:
        rows = np.frombuffer(chosen, dtype=np.int64)
        return [_among(rows, found, vectors, deepest, distance) for vectors, found in sides]

    def mean_overlap(rows: Int[np.ndarray, " m"], k: int) -> float:
        before, after = lists(rows.astype(np.int64).tobytes())
        return float(overlap(before, after, k).mean())

    draws: dict[str, Any] = {"fraction": fraction, "repeats": repeats, "seed": seed, "confidence": confidence}
    return {k: subsampled_gallery(partial(mean_overlap, k=k), n, chance=chance(k, size), **draws) for k in ks}


def _among(
    rows: Int[np.ndarray, " m"], found: Int[np.ndarray, "n c"], vectors: np.ndarray, k: int, distance: str
) -> Int[np.ndarray, "m k"]:
    """The k nearest of each chosen row among the chosen; standardised distances depend on the gallery and are
    searched."""
    place = np.full(len(found), -1)
    place[rows] = np.arange(len(rows))
    candidates = place[found[rows]]
    chosen: Bool[np.ndarray, "m c"] = candidates >= 0
    if distance == "l2_standardized" or chosen.sum(axis=1).min() < k:
        return neighbours(vectors[rows], k, distance)
    order = np.argsort(~chosen, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(candidates, order, axis=1)
