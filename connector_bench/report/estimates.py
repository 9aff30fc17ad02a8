"""Scores of a task's record, and how they read: never a value without its interval, N and chance."""

from __future__ import annotations

import math

from connector_bench.number_style import difference, with_interval
from connector_bench.stats.intervals import Score

BECAUSE = "no interval: "
"""What a score's method begins with that says why there is none."""
INTERVAL = "± 95 %"
"""What stands in a table's head over `0.701 ±.011`."""


def has_interval(score: Score) -> bool:
    """Whether both ends are known."""
    return math.isfinite(score.low) and math.isfinite(score.high)


def without_interval(*scores: Score) -> str:
    """`there is no interval (10 images, 20 are needed)`, of the first that has none; empty where all have one.

    Without it there is no verdict: neither that two are alike nor that they differ.
    """
    for score in scores:
        if not has_interval(score):
            _, known, why = score.method.partition(";")[0].partition(BECAUSE)
            return f"there is no interval ({why})" if known else "there is no interval"
    return ""


def covers_chance(score: Score) -> bool:
    """Whether the interval holds what chance gives: such a figure shows nothing. False where there is none."""
    return score.chance is not None and has_interval(score) and score.low <= score.chance <= score.high


def interval(score: Score) -> str:
    """`0.377 ±.019`, with the sign of a bound before it."""
    return score.sign + with_interval(score.value, score.low, score.high)


def change(score: Score) -> str:
    """`+0.012 ±.008`, of a difference."""
    return difference(score.value, score.low, score.high)


def apart(a: Score, b: Score) -> bool:
    """Whether two intervals do not meet. Cautious: intervals that meet may still differ when paired.

    False where one has none, which does not say that they meet: ask `without_interval` before.
    """
    return has_interval(a) and has_interval(b) and (a.low > b.high or b.low > a.high)
