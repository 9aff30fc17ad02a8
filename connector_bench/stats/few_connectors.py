"""Intervals of rank correlations over as few points as connectors are, and of the difference of two of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy import special

Values = Float64[np.ndarray, " draws"]


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
    knowing how they vary together.
    """
    together = float(_together(_held(first, n), _held(second, n), between))
    ends, others = rank_interval(first, n, confidence), rank_interval(second, n, confidence)

    def reach(own: float, its: float) -> float:
        return float(np.sqrt(max(0.0, own**2 + its**2 - 2 * together * own * its)))

    low = first - second - reach(first - ends[0], others[1] - second)
    return low, first - second + reach(ends[1] - first, second - others[0])


def apart(first: Values, second: Values, between: Values, *, n: int) -> Values:
    """How far correlations of two columns with a third lie apart; 0 where the columns have one order.

    In standard errors that the difference of their Fisher's z has where they are alike.
    """
    one, other = _held(first, n), _held(second, n)
    alike = (one + other) / 2
    variance = np.maximum(2 - 2 * _together(alike, alike, between), 1e-12)
    return (np.arctanh(one) - np.arctanh(other)) * np.sqrt((n - 3) / variance)


def _together(one: Any, other: Any, between: Any) -> Any:
    """Correlation that two correlations have which share a column (Steiger, Psychological Bulletin 87 (1980) 245)."""
    shared = (between - one * other / 2) * (1 - one**2 - other**2 - between**2) + between**3
    return np.clip(shared / ((1 - one**2) * (1 - other**2)), -1, 1)


def _held(value: Any, n: int) -> Any:
    """All in order counts as half a step of the correlations that n points can have less than that."""
    most = 1 - 6 / (n * (n**2 - 1))
    return np.clip(value, -most, most)
