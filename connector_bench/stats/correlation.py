"""Rank correlation of two values per image, with its interval."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from connector_bench.stats.cluster_jackknife import ranks_without_each, score_of
from connector_bench.stats.intervals import Score, same_length


def spearman(
    x: Float[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    *,
    clusters: Int[np.ndarray, " n"] | None = None,
    unit: str = "images",
    seed: int = 0,
) -> Score:
    """Spearman's rank correlation (ties at their mean rank) with a jackknife interval over images, or over
    `clusters` of them, which are then counted and called `unit`; -1..1, chance 0.

    Where one side is constant there is no order: value and interval are NaN. `seed` decides which images are left out
    together where there are very many.

    Raises:
        ValueError: lengths that differ, values not finite, or fewer than 3 images.
    """
    first, second = same_length(x, y, least=3)
    none = np.zeros((0, len(first)), dtype=bool)
    groups = np.arange(len(first)) if clusters is None else clusters
    found = ranks_without_each(np.stack([first, second]), none, groups, seed=seed)
    return score_of(found.correlations[:, 0, 1], found.clusters, chance=0.0, unit=unit)


def rank_correlation(x: np.ndarray, y: np.ndarray, axis: int = -1) -> Any:
    """Spearman's correlation along an axis, ties at their mean rank; NaN where a side is constant."""
    ranks = (stats.rankdata(side, axis=axis) for side in (x, y))
    first, second = (side - side.mean(axis=-1, keepdims=True) for side in ranks)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (first * second).sum(-1) / np.sqrt(np.square(first).sum(-1) * np.square(second).sum(-1))
