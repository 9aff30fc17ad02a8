"""What predicts answers across connectors: every figure as the predictor of every score, each connector left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from connector_bench.association.connector_means import ConnectorMeans, connector_means
from connector_bench.association.connectors_across import Measured
from connector_bench.association.left_out import (
    best_of_permuted,
    constant_errors,
    family_p,
    left_out_errors,
    r2_left_out,
    r2_score,
    rank_score,
    without_each,
)
from connector_bench.association.prediction_values import LeftOutPair, LeftOutPrediction
from connector_bench.association.values import Settings
from connector_bench.stats.floors import LEAST_CONNECTORS

BY_CHANCE = 0.95
ERROR_DECIMALS = 9
"""Of a mean error: what stands behind is rounding."""


def left_out_prediction(models: Sequence[Measured], settings: Settings) -> LeftOutPrediction | None:
    """Each trained connector's scores by the line through all others, from every figure and from its size.

    None below `LEAST_CONNECTORS` connectors, and where they share no figure or no score that varies.

    Raises:
        UnusableResult: the figures of one task rest on other pictures or documents in one model than in another.
    """
    return predictions(connector_means(models), settings)


def predictions(means: ConnectorMeans, settings: Settings) -> LeftOutPrediction | None:
    """`left_out_prediction` of means that are made already."""
    if len(means.connectors) < LEAST_CONNECTORS or not means.figures or not means.scores:
        return None
    named = {**means.figures, **means.baselines}
    figures = np.stack(list(named.values()))
    scores = np.stack(list(means.scores.values()), axis=1)
    errors, r2 = left_out_errors(figures, scores), r2_left_out(figures, scores)
    without = without_each(figures, scores)
    best = best_of_permuted(figures, scores, seed=settings.seed)
    p = family_p(r2, best)
    pairs = []
    for i, predictor in enumerate(named):
        for j, target in enumerate(means.scores):
            true, lacking = scores[:, j], without[:, i, j]
            lowest = int(np.argmin(np.nan_to_num(lacking, nan=np.inf)))
            score = r2_score(float(r2[i, j]), lacking, settings.confidence)
            rank = rank_score(true - errors[i, :, j], true, settings.confidence, beaten=bool(r2[i, j] > 0))
            pairs.append(
                LeftOutPair(
                    predictor,
                    target,
                    predictor in means.baselines,
                    score,
                    rank,
                    round(float(np.abs(errors[i, :, j]).mean()), ERROR_DECIMALS),
                    float(p[i, j]),
                    float(lacking[lowest]),
                    means.connectors[lowest],
                )
            )
    constant = np.abs(constant_errors(scores)).mean(axis=0)
    return LeftOutPrediction(
        connectors=means.connectors,
        pairs=tuple(pairs),
        constant_errors=dict(zip(means.scores, constant.tolist(), strict=True)),
        permutations=len(best),
        seed=settings.seed,
        best_by_chance=float(np.quantile(best, BY_CHANCE)),
        left_out=means.left_out,
    )
