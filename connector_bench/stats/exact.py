"""Exact permutation test of a rank correlation, for as few points as connectors are."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy import stats

MOST_POINTS = 10


def permutation_p(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    """Two-sided p-value of Spearman's correlation over all n! orders, n at most `MOST_POINTS`, ties as they are.

    All n! sums of products of ranks are counted without being listed: after the first i points of `x`, for every set
    of i points of `y` that they may have met, how often each sum occurs.

    Raises:
        ValueError: other lengths, fewer than two points, or more than `MOST_POINTS`.
    """
    if len(x) != len(y) or not 2 <= len(x) <= MOST_POINTS:
        raise ValueError(f"needs 2 to {MOST_POINTS} points with two values, got {len(x)} and {len(y)}")
    first, second = (tuple((2 * stats.rankdata(side)).astype(int).tolist()) for side in (x, y))
    sums = _all_sums(first, second)
    # doubled ranks are whole numbers, and so are n times the deviations: what is equal is told exactly
    expected = sum(first) * sum(second)
    deviations = np.abs(len(x) * np.arange(len(sums)) - expected)
    own = abs(len(x) * int(np.dot(first, second)) - expected)
    return float(sums[deviations >= own].sum() / sums.sum())


@lru_cache(maxsize=256)
def _all_sums(first: tuple[int, ...], second: tuple[int, ...]) -> np.ndarray:
    """How many of all orders give each sum of products."""
    n, longest = len(first), int(np.dot(sorted(first), sorted(second))) + 1
    counts = np.zeros((1 << n, longest))
    counts[0, 0] = 1
    for met in range(1, 1 << n):
        own = first[met.bit_count() - 1]
        for place in range(n):
            if met >> place & 1:
                step = own * second[place]
                counts[met, step:] += counts[met ^ (1 << place), : longest - step]
    return counts[-1]
