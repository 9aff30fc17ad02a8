"""Intervals of rank correlations over as few points as connectors are, and of the difference of two of them."""

from __future__ import annotations

import numpy as np
from scipy import special


def rank_interval(value: float, n: int, confidence: float) -> tuple[float, float]:
    """Ends of the interval of a rank correlation of n points that is `value`.

    That of Fisher's z with the variance `(1 + r^2 / 2) / (n - 3)` (Bonett and Wright, Psychometrika 65 (2000) 23).
    """
    held = _held(value, n)
    reach = float(special.ndtri(0.5 + confidence / 2)) * np.sqrt((1 + held**2 / 2) / (n - 3))
    low, high = np.tanh(np.arctanh(held) + reach * np.array([-1, 1]))
    return min(float(low), value), max(float(high), value)


def difference_interval(
    first: float, second: float, between: float, n: int, confidence: float
) -> tuple[float, float]:
    """Ends of the interval of `first - second`, rank correlations of two columns with a third over the same n points.

    `between` is that of the two columns. It combines the intervals of both (Zou, Psychological Methods 12 (2007) 399),
    with the correlation that two correlations have where they share a column (Steiger, Psychological Bulletin 87
    (1980) 245).
    """
    one, other = _held(first, n), _held(second, n)
    shared = (between - one * other / 2) * (1 - one**2 - other**2 - between**2) + between**3
    together = float(np.clip(shared / ((1 - one**2) * (1 - other**2)), -1, 1))
    ends, others = rank_interval(first, n, confidence), rank_interval(second, n, confidence)

    def reach(own: float, its: float) -> float:
        return float(np.sqrt(max(0.0, own**2 + its**2 - 2 * together * own * its)))

    low = first - second - reach(first - ends[0], others[1] - second)
    return low, first - second + reach(ends[1] - first, second - others[0])


def _held(value: float, n: int) -> float:
    """All in order counts as half a step of the correlations that n points can have less than that."""
    most = 1 - 6 / (n * (n**2 - 1))
    return float(np.clip(value, -most, most))
