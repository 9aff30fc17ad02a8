"""How figures look wherever they are shown: a number, its interval, a difference, and the colours of a loss.

Board, report and terminal write `0.701 ±.011`. The board's page does the same in `leaderboard/assets/style.js`, which a
test holds against this module.
"""

from __future__ import annotations

import math

from connector_bench.stats.bounds import SIGNS, Bound

NONE = "–"
"""What stands where there is no figure."""
MINUS = "−"
LIKE = 1 / 3
"""Both sides of an interval that differ by no more than this share of the wider one are written as one `±`."""

LOSS_COLOURS = "magma"
"""The colour scale of every loss map, by its name in matplotlib and in D3: dark where nothing is lost."""
LOSS_RANGE = (0.0, 1.0)
"""Losses at the scale's ends: rebuilt whole, and what the mean patch misses on average; beyond, the end's colour."""


def decimals(value: float) -> int:
    """Three for shares and what is below 10, then fewer, so that four digits are read."""
    size = abs(value)
    return 3 if size < 9.9995 else 2 if size < 99.995 else 1 if size < 999.95 else 0


def number(value: float | None, bound: Bound | None = None) -> str:
    """`0.701`, `42.32`, `12,345`, `≤ 0.270` for what is a bound; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NONE
    return ("" if bound is None else SIGNS[bound]) + _fixed(value, decimals(value))


def with_interval(
    value: float | None, low: float | None = None, high: float | None = None, bound: Bound | None = None
) -> str:
    """`0.701 ±.011`; `0.701 +.030 −.011` where one side is wider, `1.000 −.004` where there is but one.

    Where an end is unknown it is the number alone.
    """
    shown = number(value, bound)
    return shown if shown == NONE else shown + _ends(value, low, high)  # type: ignore[arg-type]


def counted(n: int, one: str, many: str | None = None) -> str:
    """`1 model`, `1,024 models`; `many` where it is not `one` with an s."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def signed(value: float | None) -> str:
    """`+0.012`; without a sign where nothing is left after rounding."""
    shown = number(value)
    return f"+{shown}" if value and value > 0 and float(shown.replace(",", "")) else shown


def difference(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """`+0.012 ±.008`: a figure less another, with its interval."""
    shown = signed(value)
    return shown if shown == NONE else shown + _ends(value, low, high)  # type: ignore[arg-type]


def span(low: float | None, high: float | None) -> str:
    """`0.453 to 0.700`; a dash where an end is unknown."""
    return NONE if NONE in (ends := (number(low), number(high))) else " to ".join(ends)


def _ends(value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    below, above = max(0.0, value - low), max(0.0, high - value)
    places, wider = decimals(value), max(below, above)
    if abs(above - below) <= LIKE * wider or _part(below, places) == _part(above, places):
        return f" ±{_part(wider, places)}"
    up, down = f" +{_part(above, places)}", f" {MINUS}{_part(below, places)}"
    nothing = _part(0.0, places)
    return down if up == f" +{nothing}" else up if down == f" {MINUS}{nothing}" else up + down


def _part(width: float, places: int) -> str:
    """A half of an interval in the value's decimals, `.011`: no zero before the point."""
    text = _fixed(width, places)
    return text.removeprefix("0") if places else text


def _fixed(value: float, places: int) -> str:
    text = f"{abs(value):,.{places}f}"
    return f"{MINUS}{text}" if value < 0 and text.strip("0.,") else text
