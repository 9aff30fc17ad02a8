"""How far two sides of a stage lie apart, and whether they hold the same tokens in another order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from connector_bench.fingerprint.fingerprint_file import Stage, StageValues

SAME = 0.98
"""Share of tokens that must be found on the other side."""


def apart(a: Stage, b: Stage) -> float:
    """Largest over pictures: Euclidean distance of pooled tokens, and of first ones, over a token's usual norm."""
    return max(_apart(one, other) for one, other in zip(a.pictures, b.pictures, strict=True))


def pooled_apart(a: Stage, b: Stage) -> float:
    """The same of pooled tokens alone, which do not depend on their order."""
    return max(
        distance(one.pooled, other.pooled, one.rms) if one.width == other.width else math.inf
        for one, other in zip(a.pictures, b.pictures, strict=True)
    )


def _apart(a: StageValues, b: StageValues) -> float:
    if (a.rows, a.width) != (b.rows, b.width):
        return math.inf
    return max(distance(a.pooled, b.pooled, a.rms), distance(a.first, b.first, a.rms))


def distance(a: Sequence[float] | None, b: Sequence[float] | None, rms: float) -> float:
    """Of the values that both sides keep; 0 where one keeps none."""
    count = min(len(a or ()), len(b or ()))
    if not count:
        return 0.0
    gap = float(np.linalg.norm(np.subtract(list(a or ())[:count], list(b or ())[:count])))
    if gap == 0:
        return 0.0
    return gap / (rms * math.sqrt(count)) if rms > 0 else math.inf


def moved(a: Stage, b: Stage, bound: float) -> int:
    """Tokens of all marked pictures that stand elsewhere; 0 where the sides do not hold the same tokens."""
    found = [_moved(one, other, bound) for one, other in zip(a.pictures, b.pictures, strict=True)]
    return sum(count for count in found if count is not None) if None not in found else 0


def _moved(a: StageValues, b: StageValues, bound: float) -> int | None:
    """None where the tokens are others."""
    if a.marks is None or b.marks is None or len(a.marks) != len(b.marks):
        return 0
    one, other = np.array(a.marks), np.array(b.marks)
    near = bound * a.rms
    own = np.abs(one - other).max(axis=1)
    away = np.flatnonzero(own > near)
    if not len(away):
        return 0
    nearest = np.array([np.abs(one - other[place]).max(axis=1).min() for place in away])
    elsewhere = nearest <= near
    return int(elsewhere.sum()) if elsewhere.mean() >= SAME and len(away) > 1 else None


def named_order(a: Stage, b: Stage, bound: float) -> str | None:
    """How the second side's tokens lie, where that has a name."""
    for one, other in zip(a.pictures, b.pictures, strict=True):
        if _moved(one, other, bound) and (name := _order(one, other, bound)):
            return name
    return None


def _order(a: StageValues, b: StageValues, bound: float) -> str | None:
    one, other = np.array(a.marks), np.array(b.marks)
    rows, columns = a.grid if a.grid is not None and a.grid[0] * a.grid[1] == len(one) else (1, len(one))
    table = one.reshape(rows, columns, -1)
    orders = {
        "columns before rows (transposed)": table.transpose(1, 0, 2),
        "reverse order": table[::-1, ::-1],
        "rows from the bottom": table[::-1],
        "columns from the right": table[:, ::-1],
    }
    near = bound * a.rms
    return next(
        (name for name, order in orders.items() if np.abs(order.reshape(one.shape) - other).max() <= near),
        None,
    )
