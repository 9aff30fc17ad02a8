"""What predicts answers across connectors: every figure as the predictor of every score, each connector left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64

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
    same_seeds: dict[int, list[str]] = {}
    for predictor in named:
        same_seeds.setdefault(id(means.scores_beside(predictor)), []).append(predictor)
    parts = [(names, *_together(means, named, names)) for names in same_seeds.values()]
    # one seed: the connectors come in the same orders in every part
    best = np.max([best_of_permuted(*sides, seed=settings.seed) for _, *sides in parts], axis=0)
    found: dict[str, list[LeftOutPair]] = {}
    for names, figures, scores in parts:
        errors, r2 = left_out_errors(figures, scores), r2_left_out(figures, scores)
        without, p = without_each(figures, scores), family_p(r2, best)
        for i, predictor in enumerate(names):
            for j, target in enumerate(means.scores):
                true, lacking = scores[:, j], without[:, i, j]
                lowest = int(np.argmin(np.nan_to_num(lacking, nan=np.inf)))
                score = r2_score(float(r2[i, j]), lacking, settings.confidence)
                beaten = bool(r2[i, j] > 0)
                rank = rank_score(true - errors[i, :, j], true, settings.confidence, beaten=beaten)
                found.setdefault(predictor, []).append(
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
    pairs = [pair for predictor in named for pair in found[predictor]]
    scores = np.stack(list(means.scores.values()), axis=1)
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


def _together(
    means: ConnectorMeans, named: Mapping[str, Float64[np.ndarray, " n"]], predictors: Sequence[str]
) -> tuple[Float64[np.ndarray, "p n"], Float64[np.ndarray, "n t"]]:
    """Predictors that the same seeds have, and what those seeds answered."""
    scores = means.scores_beside(predictors[0])
    return np.stack([named[one] for one in predictors]), np.stack(
        [scores[one] for one in means.scores], axis=1
    )
