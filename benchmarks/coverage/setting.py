"""What is simulated, and what one simulation gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from connector_bench.association.values import Tested
from connector_bench.stats.intervals import Score
from connector_bench.stats.paired import Difference


@dataclass(frozen=True)
class Outcome:
    """One figure of one simulation; ends and p-value are NaN where none is given."""

    value: float
    low: float
    high: float
    p: float = math.nan

    @classmethod
    def of(cls, found: Score | Tested | Difference) -> Outcome:
        if isinstance(found, Tested):
            return cls(found.score.value, found.score.low, found.score.high, _number(found.p))
        if isinstance(found, Difference):
            return cls(found.value, found.low, found.high, found.p)
        return cls(found.value, found.low, found.high)

    @classmethod
    def recorded(cls, score: Mapping[str, Any]) -> Outcome:
        """Of a score as a run's record has it."""
        return cls(*(_number(score[end]) for end in ("value", "low", "high")))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


Outcomes = Mapping[str, Outcome]


@dataclass(frozen=True)
class Setting:
    """Images, or connectors, that are drawn anew in every simulation, and what is measured of them."""

    family: str
    name: str
    draw: Callable[[np.random.Generator, int], Outcomes]
    """Of a generator and the simulation's number."""
    truth: Callable[[], Mapping[str, float]] | None = None
    """By figure; None, and for figures that are not there, the mean over all simulations."""
    null: bool = False
    """Whether there is no effect, so that p-values are to be uniform."""
    more: int = 1
    """How many times as many simulations, where one costs little."""
