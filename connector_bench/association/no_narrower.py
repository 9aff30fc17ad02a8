"""Tested figures whose interval and p-value hold where losses (nearly) part failures from successes.

The jackknife's are kept wherever they are wider and larger than what the numbers of images alone allow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from connector_bench.association.testing import Over, share_error, tested
from connector_bench.association.values import Settings, Tested
from connector_bench.stats import jackknife
from connector_bench.stats.few_connectors import difference_interval, rank_interval
from connector_bench.stats.separated import (
    area_interval,
    area_p,
    correlation_p,
    knows_no_spread,
    shares_apart,
)

NEWCOMBE = ", no narrower than Newcombe's"
FISHER = ", no narrower than Fisher's z"


@dataclass(frozen=True)
class Outcomes:
    """Which documents failed, and how many images (or groups of them) have a failure, a success, or either."""

    failed: Bool[np.ndarray, " n"]
    failing: int
    others: int
    over: Over

    @property
    def asked_once(self) -> bool:
        """Whether every draw has one question."""
        return self.over.n == len(self.failed)

    @classmethod
    def of(cls, failed: Bool[np.ndarray, " n"], clusters: Shaped[np.ndarray, " n"], unit: str) -> Outcomes:
        """An image of several questions may have both."""
        failing, others, n = (
            len(np.unique(side)) for side in (clusters[failed], clusters[~failed], clusters)
        )
        return cls(failed, failing, others, Over(n, unit))


def tested_area(
    draws: Float64[np.ndarray, " draws"],
    values: Float64[np.ndarray, " n"],
    outcomes: Outcomes,
    settings: Settings,
) -> Tested:
    """The AUROC of `values`: no narrower than Newcombe's interval, and no p-value below Mann's and Whitney's.

    Several answers of a draw tell more than one would and less than as many draws. So where they are asked, Newcombe's
    interval is that of as many answers and the p-value the jackknife's, unless that has (nearly) no spread.
    """
    found = tested(draws, outcomes.over, 0.5, settings, scale="area")
    value = found.score.value
    ends = area_interval(value, outcomes.failing, outcomes.others, settings.confidence)
    if not (outcomes.asked_once or _knows_no_spread(found, ends)):
        failed = int(outcomes.failed.sum())
        ends = area_interval(value, failed, len(outcomes.failed) - failed, settings.confidence)
        return _at_least(found, ends, 0.0, NEWCOMBE)
    p = area_p(value, values, outcomes.failed, outcomes.failing, outcomes.others)
    return _at_least(found, ends, p, NEWCOMBE)


def tested_advantage(
    first: Float64[np.ndarray, " draws"],
    second: Float64[np.ndarray, " draws"],
    outcomes: Outcomes,
    settings: Settings,
) -> Tested:
    """One AUROC less another's. Where one of both has (nearly) no spread, no narrower than what follows from both of
    Newcombe's intervals as if they were independent."""
    found = tested(first - second, outcomes.over, 0.0, settings)
    sides = []
    for draws in (first, second):
        own = tested(draws, outcomes.over, 0.5, settings, scale="area")
        value = own.score.value
        low, high = area_interval(value, outcomes.failing, outcomes.others, settings.confidence)
        sides.append((value - low, high - value, _knows_no_spread(own, (low, high))))
    if not (sides[0][2] or sides[1][2]):
        return found
    value = found.score.value
    below, above = math.hypot(sides[0][0], sides[1][1]), math.hypot(sides[0][1], sides[1][0])
    return _at_least(found, (value - below, value + above), 0.0, NEWCOMBE)


def tested_correlation(
    draws: Float64[np.ndarray, " draws"], over: Over, documents: int, settings: Settings
) -> Tested:
    """A rank correlation; where leaving out images (nearly) changes nothing, no narrower than Fisher's z."""
    found = tested(draws, over, 0.0, settings)
    value = found.score.value
    if not has_no_spread(draws, documents):
        return found
    ends = rank_interval(value, over.n, settings.confidence)
    return _at_least(found, ends, correlation_p(value, over.n), FISHER)


def tested_correlations_apart(
    draws: Float64[np.ndarray, "draws 3 3"], over: Over, documents: int, settings: Settings
) -> Tested:
    """Of columns 0 and 1 with column 2, the first correlation less the second; where one has (nearly) no spread, no
    narrower than what follows from both of Fisher's z."""
    first, second = draws[:, 0, 2], draws[:, 1, 2]
    found = tested(first - second, over, 0.0, settings)
    if not (has_no_spread(first, documents) or has_no_spread(second, documents)):
        return found
    one, other, between = float(first[0]), float(second[0]), float(draws[0, 0, 1])
    return _at_least(
        found, difference_interval(one, other, between, over.n, settings.confidence), 0.0, FISHER
    )


def has_no_spread(draws: Float64[np.ndarray, " draws"], documents: int) -> bool:
    """Whether the jackknife of a rank correlation does not know how far it may lie off."""
    found = jackknife.estimate(float(draws[0]), draws[1:], "ranks")
    return math.isfinite(found.error) and knows_no_spread(found.value, found.error, documents)


def tested_shares(
    lowest: tuple[Float64[np.ndarray, " draws"], int],
    highest: tuple[Float64[np.ndarray, " draws"], int],
    over: Over,
    settings: Settings,
) -> Tested:
    """The second of two shares less the first, each with its number of draws: no narrower than Newcombe's interval of
    as many independent answers as would vary as much, and no p-value below the score test's."""
    found = tested(highest[0] - lowest[0], over, 0.0, settings)
    if not math.isfinite(found.score.low):
        return found
    worth = [(float(draws[0]), _trials(draws, inside)) for draws, inside in (lowest, highest)]
    low, high, p = shares_apart(worth[0], worth[1], settings.confidence)
    return _at_least(found, (low, high), p, NEWCOMBE)


def _trials(draws: Float64[np.ndarray, " draws"], n: int) -> float:
    """Independent answers that would vary as much; all `n` where none does."""
    value, error = float(draws[0]), share_error(draws)
    spread = value * (1 - value)
    return max(spread / error**2, 1.0) if spread > 0 and error > 0 else float(n)


def _knows_no_spread(found: Tested, ends: tuple[float, float]) -> bool:
    """Whether the jackknife's interval is less than half as wide."""
    return found.score.high - found.score.low < (ends[1] - ends[0]) / 2


def _at_least(found: Tested, ends: tuple[float, float], p: float, said: str) -> Tested:
    """The interval out to these ends, and at least this p-value; as it is where there is none."""
    score = found.score
    if not math.isfinite(score.low):
        return found
    wider = replace(
        score, low=min(score.low, ends[0]), high=max(score.high, ends[1]), method=f"{score.method}{said}"
    )
    return Tested(wider, None if found.p is None else max(found.p, p))
