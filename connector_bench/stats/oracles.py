"""Whether a control whose figure is known beforehand came out as it must: decided here alone, for all who say so.

What loses nothing must keep all, and shuffled pairs must keep nothing. The first is exact but for rounding and the
steps of a training. The second varies by chance, so an alarm has a rate of false ones: of boards of `LARGEST_BOARD`
such figures (some 160 models in two tasks on two data sets) at most the share `FALSE_ALARMS` has one. Each figure
therefore alarms below p = 1e-6. That is Bonferroni's bound, which holds whatever the figures have in common, and they
share pictures and random orders. The rate of one figure does not depend on what stands beside it, so that report,
terminal and board say the same of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from scipy import stats

from connector_bench.metrics import Metric
from connector_bench.metrics import metric as metric_of
from connector_bench.stats.floors import LEAST_IMAGES

FALSE_ALARMS, LARGEST_BOARD = 0.01, 10_000
RATE = FALSE_ALARMS / LARGEST_BOARD
"""Below this p-value a figure of shuffled pairs is an alarm."""

KEPT_TO_ROUNDING = 1 - 5e-4
"""Overlap of what loses nothing: equal distances that fall differently in the last digit move a neighbour or two."""
REBUILT, REBUILT_BY_TRAINING = 0.999, 0.98
"""R2 that a probe in closed form and one trained by steps must reach where nothing is lost."""
FIT_NOISE = 0.005
"""R2 of shuffled pairs that one fit can have by chance, where its noise was not measured by several."""
TURNED_AXES = "l2_standardized"
"""The distance under which a rotation does move neighbours, so that nothing is known of it beforehand."""


class FoundFigure(Protocol):
    """A figure with its interval, as a record's scores and a board's figures have it."""

    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float | None: ...  # noqa: D102
    @property
    def high(self) -> float | None: ...  # noqa: D102
    @property
    def chance(self) -> float | None: ...  # noqa: D102
    @property
    def n(self) -> int | None: ...  # noqa: D102


def as_it_must_be(
    name: str, found: FoundFigure, p: float | None = None, options: Mapping[str, Any] | None = None
) -> bool | None:
    """Whether a control's figure is what it must be; None for any other figure, and where nobody can tell.

    `p` is how surprising the figure of shuffled pairs is, where the run recorded it; else its interval has to say.
    `options` are the task's.
    """
    entry = metric_of(name)
    if entry is None or entry.control is None or entry.control.keeps is None:
        return None
    if entry.control.keeps == "all":
        if entry.control.key == "rotation" and (options or {}).get("distance") == TURNED_AXES:
            return None
        return found.value >= _least(entry)
    if p is None and entry.measure == "patch_reconstruction":
        if found.n is not None and found.n < LEAST_IMAGES:
            return None
        return (found.value if _unknown(found.low) else found.low) <= FIT_NOISE  # type: ignore[operator]
    surprise = _p_of_interval(found) if p is None else p
    return None if surprise is None else surprise >= RATE


def _least(entry: Metric) -> float:
    if entry.family == "overlap":
        return KEPT_TO_ROUNDING
    return REBUILT if entry.base == "r2_ridge" else REBUILT_BY_TRAINING


def _unknown(end: float | None) -> bool:
    return end is None or not math.isfinite(end)


def _p_of_interval(found: FoundFigure) -> float | None:
    """Two-sided p-value of chance, by how often the 95 % interval's reach towards it goes into the difference."""
    end = found.low if found.chance is not None and found.value > found.chance else found.high
    if found.chance is None or end is None or _unknown(end):
        return None
    gap, reach = abs(found.value - found.chance), abs(found.value - end)
    if reach == 0:
        return float(gap == 0)
    return float(2 * stats.norm.sf(gap / reach * stats.norm.ppf(0.975)))


def not_as_they_must_be(
    scores: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any] | None = None
) -> list[str]:
    """One sentence for a record's warnings where any control is off; `scores` are a record's."""
    off = [
        f"{name} is {score['value']:.4g}"
        for name, score in scores.items()
        if as_it_must_be(name, Recorded(score), score.get("p"), options) is False
    ]
    if not off:
        return []
    return [f"controls are not as they must be, read every other figure with that in mind: {', '.join(off)}"]


class Recorded:
    """A score as a record holds it: plain values."""

    def __init__(self, score: Mapping[str, Any]) -> None:
        self.value: float = score["value"]
        self.low: float | None = score.get("low")
        self.high: float | None = score.get("high")
        self.chance: float | None = score.get("chance")
        self.n: int | None = score.get("n")
