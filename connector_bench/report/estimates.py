"""Scores of a task's record, and how they read: never a value without its interval, N and chance."""

from __future__ import annotations

import math

from connector_bench.number_style import difference, with_interval
from connector_bench.stats.intervals import Score

INTERVAL = "± 95 %"
"""What stands in a table's head over `0.701 ±.011`."""


def has_interval(score: Score) -> bool:
    """Whether both ends are known."""
    return math.isfinite(score.low) and math.isfinite(score.high)


def covers_chance(score: Score) -> bool:
    """Whether the interval holds what chance gives: such a figure shows nothing."""
    return score.chance is not None and has_interval(score) and score.low <= score.chance <= score.high


def interval(score: Score) -> str:
    """`0.377 ±.019`, with the sign of a bound before it."""
    return score.sign + with_interval(score.value, score.low, score.high)


def change(score: Score) -> str:
    """`+0.012 ±.008`, of a difference."""
    return difference(score.value, score.low, score.high)


def apart(a: Score, b: Score) -> bool:
    """Whether two intervals do not meet. Cautious: intervals that meet may still differ when paired."""
    return has_interval(a) and has_interval(b) and (a.low > b.high or b.low > a.high)
