"""Rank correlation of two values per image, with its interval."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from connector_bench.stats.intervals import Score, bootstrap, same_length


def spearman(
    x: Float[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    *,
    seed: int = 0,
) -> Score:
    """Spearman's rank correlation (ties at their mean rank) with a bootstrap interval over images; -1..1,
    chance 0.

    Where one side is constant there is no order: value and interval are NaN.

    Raises:
        ValueError: lengths that differ, values not finite, or fewer than 3 images.
    """
    first, second = same_length(x, y, least=3)
    return bootstrap((first, second), rank_correlation, seed=seed, confidence=0.95, chance=0.0)


def rank_correlation(x: np.ndarray, y: np.ndarray, axis: int = -1) -> Any:
    """Spearman's correlation along an axis, ties at their mean rank; NaN where a side is constant."""
    return _correlation(stats.rankdata(x, axis=axis), stats.rankdata(y, axis=axis))


def _correlation(x: np.ndarray, y: np.ndarray) -> Any:
    x, y = (side - side.mean(axis=-1, keepdims=True) for side in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x * y).sum(-1) / np.sqrt(np.square(x).sum(-1) * np.square(y).sum(-1))
