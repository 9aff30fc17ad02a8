"""Scores of a task's record, and how they read: never a value without its interval, N and chance."""

from __future__ import annotations

import math

from connector_bench.stats.intervals import Score

NO_INTERVAL = "no interval"
NARROW = "\u202f"
"""A narrow space at which no line breaks."""


def has_interval(score: Score) -> bool:
    """Whether both ends are known."""
    return math.isfinite(score.low) and math.isfinite(score.high)


def covers_chance(score: Score) -> bool:
    """Whether the interval holds what chance gives: such a figure shows nothing."""
    return score.chance is not None and has_interval(score) and score.low <= score.chance <= score.high


def number(value: float | None, digits: int = 3) -> str:
    """A plain number; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{abs(value):.{digits}f}"
    return f"−{text}" if value < 0 and float(text) else text


def interval(score: Score, digits: int = 3) -> str:
    """`0.377 [0.358, 0.396]`."""
    ends = f" [{number(score.low, digits)}, {number(score.high, digits)}]" if has_interval(score) else ""
    return score.sign + number(score.value, digits) + ends


def percent(value: float) -> str:
    """`37.7 %`, which no line end parts."""
    return f"{number(100 * value, 1)}{NARROW}%"


def ends_in_percent(score: Score) -> str:
    """`35.8 to 39.6 %`."""
    if not has_interval(score):
        return NO_INTERVAL
    return f"{number(100 * score.low, 1)} to {percent(score.high)}"


def percent_interval(score: Score) -> str:
    """`37.7 % [35.8, 39.6]`."""
    ends = f" [{number(100 * score.low, 1)}, {number(100 * score.high, 1)}]" if has_interval(score) else ""
    return score.sign + percent(score.value) + ends


def apart(a: Score, b: Score) -> bool:
    """Whether two intervals do not meet. Cautious: intervals that meet may still differ when paired."""
    return has_interval(a) and has_interval(b) and (a.low > b.high or b.low > a.high)
