"""Whether one loss goes with a score more than another does: the difference of two correlations on the same points.

That one correlation is significant and another is not says nothing of their difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
from jaxtyping import Float
from scipy import stats

from connector_bench.association.across import over_seeds, too_alike
from connector_bench.association.values import AcrossConnectors, Contrast, Settings, Tested
from connector_bench.headlines import WHOLE_LOSSES
from connector_bench.stats.correlation import rank_correlation
from connector_bench.stats.few_connectors import apart, difference_interval
from connector_bench.stats.floors import LEAST_CONNECTORS
from connector_bench.stats.intervals import Score

ALL_EXCHANGES = 2**14
"""Exchanges that are all made; of more connectors so many random ones are."""
ROUNDING = 1e-9


def contrasts(across: Sequence[AcrossConnectors], settings: Settings) -> tuple[Contrast, ...]:
    """`lost` against every task's `1 - knor_10`, beside every score that both have, over trained connectors.

    Only where either has a correlation of its own.
    """
    told = {
        loss: [one for one in across if one.loss == loss and one.correlations.get("trained")]
        for loss in WHOLE_LOSSES
    }
    overlap, lost = told.values()
    found = [
        _contrast(first, second, settings)
        for first in lost
        for second in overlap
        if (first.score_task, first.score) == (second.score_task, second.score)
        and first.data_sets & second.data_sets
    ]
    return tuple(one for one in found if one is not None)


def _contrast(first: AcrossConnectors, second: AcrossConnectors, settings: Settings) -> Contrast | None:
    others = {seed.model: seed for point in second.points for seed in point.seeds}
    values = []
    for point in first.points:
        shared = [seed for seed in point.seeds if seed.model in others]
        if point.group == "trained" and shared:
            sides = zip(*((seed.loss, others[seed.model].loss, seed.score) for seed in shared), strict=True)
            values.append([over_seeds(side) for side in sides])
    if len(values) < LEAST_CONNECTORS:
        return None
    one, other, scores = np.transpose(values)
    pairs = ((one, scores), (other, scores), (one, other))
    first_r, second_r, between = (float(rank_correlation(*pair)) for pair in pairs)
    if not np.isfinite([first_r, second_r, between]).all():
        return None
    return Contrast(
        first.score_task,
        first.score,
        (first.connector_task, second.connector_task),
        (first.loss, second.loss),
        _tested(one, other, scores, (first_r, second_r, between), settings),
    )


def _tested(
    one: Float[np.ndarray, " n"],
    other: Float[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    correlations: tuple[float, float, float],
    settings: Settings,
) -> Tested:
    """The difference of the first two correlations; a sentence for its interval where connectors are `too_alike`."""
    value, n = correlations[0] - correlations[1], len(scores)
    if why := too_alike([one, other], scores):
        return Tested(Score(value, math.nan, math.nan, n, 0.0, why), None)
    low, high = difference_interval(*correlations, n, settings.confidence)
    method = f"{100 * settings.confidence:g} % interval of the difference of two Fisher's z over connectors"
    return Tested(Score(value, low, high, n, 0.0, method), exchange_p(one, other, scores, seed=settings.seed))


def exchange_p(
    first: Float[np.ndarray, " n"],
    second: Float[np.ndarray, " n"],
    score: Float[np.ndarray, " n"],
    *,
    seed: int = 0,
) -> float:
    """Two-sided p-value of two losses that go with a score alike, by exchanging their ranks within connectors.

    All 2^n exchanges up to 14 connectors; of more, `ALL_EXCHANGES` random ones and the observed one. What is compared
    are differences in their standard errors (`apart`): exchanged losses go with each other otherwise than the observed
    ones, and differences themselves reject up to .075 of the time where .05 is meant.
    """
    ranks = np.stack([stats.rankdata(first), stats.rankdata(second)])
    n = ranks.shape[1]
    exact = 2**n <= ALL_EXCHANGES
    swapped: np.ndarray
    if exact:
        swapped = np.array(list(product((False, True), repeat=n)))
    else:
        swapped = np.random.default_rng(seed).random((ALL_EXCHANGES, n)) < 0.5
        swapped[0] = False
    one, other = np.where(swapped, ranks[1], ranks[0]), np.where(swapped, ranks[0], ranks[1])
    scores = np.broadcast_to(score, one.shape)
    pairs = ((one, scores), (other, scores), (one, other))
    found = [rank_correlation(*pair) for pair in pairs]
    distances = np.abs(np.nan_to_num(apart(*found, n=n)))
    return float(np.mean(distances >= distances[0] - ROUNDING))
