"""Does loss predict failure: AUROC against simpler predictors, and the failure rate by deciles of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from connector_bench.association.no_narrower import Outcomes, tested_advantage, tested_area
from connector_bench.association.testing import Over, rate
from connector_bench.association.values import BaselinePrediction, CalibrationBin, Prediction, Settings
from connector_bench.stats.cluster_jackknife import sums_without_each
from connector_bench.stats.floors import LEAST_OUTCOMES
from connector_bench.stats.intervals import cluster_sums

BINS = 10


@dataclass(frozen=True)
class Failure:
    """Which documents failed, and by which rule."""

    rule: str
    failed: Bool[np.ndarray, " n"]


def failures(
    name: str, score: Float64[np.ndarray, " n"], higher_is_better: bool, threshold: float
) -> Failure:
    """Scores within 0..1 fail on the wrong side of `threshold`; others (CIDEr) at their median or worse."""
    if score.min() >= 0 and score.max() <= 1:
        if higher_is_better:
            return Failure(f"{name} < {threshold:g}", score < threshold)
        return Failure(f"{name} > {threshold:g}", score > threshold)
    middle = float(np.median(score))
    if higher_is_better:
        return Failure(f"{name} <= {middle:.4g}, its median", score <= middle)
    return Failure(f"{name} >= {middle:.4g}, its median", score >= middle)


def predict(
    loss: Float64[np.ndarray, " n"],
    failure: Failure,
    clusters: Shaped[np.ndarray, " n"],
    unit: str,
    areas: Float64[np.ndarray, " draws"],
    baselines: Mapping[str, tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " draws"]]],
    settings: Settings,
) -> Prediction | None:
    """AUROC of the loss and of each baseline (its values and its areas), from areas without each cluster; None with
    too few of either outcome."""
    outcomes = Outcomes.of(failure.failed, clusters, unit)
    if min(outcomes.failing, outcomes.others) < LEAST_OUTCOMES:
        return None
    return Prediction(
        failure=failure.rule,
        failures=int(failure.failed.sum()),
        auroc=tested_area(areas, loss, outcomes, settings),
        baselines=tuple(
            _baseline(name, *baseline, areas, outcomes, settings) for name, baseline in baselines.items()
        ),
        calibration=calibration(loss, failure.failed, clusters, unit, settings),
    )


def _baseline(
    name: str,
    values: np.ndarray,
    areas: np.ndarray,
    of_the_loss: np.ndarray,
    outcomes: Outcomes,
    settings: Settings,
) -> BaselinePrediction:
    """A baseline may point either way (small masks or large ones fail); it is read the way that suits it."""
    larger_fails = bool(areas[0] >= 0.5)
    pointed = areas if larger_fails else 1 - areas
    return BaselinePrediction(
        name,
        larger_fails,
        tested_area(pointed, values, outcomes, settings),
        tested_advantage(of_the_loss, pointed, outcomes, settings),
    )


def calibration(
    loss: Float64[np.ndarray, " n"],
    failed: Bool[np.ndarray, " n"],
    clusters: Shaped[np.ndarray, " n"],
    unit: str,
    settings: Settings,
) -> tuple[CalibrationBin, ...]:
    """Failure rate by deciles of the loss, with intervals over the clusters."""
    edges = np.unique(np.quantile(loss, np.linspace(0, 1, BINS + 1)))
    place = np.searchsorted(edges, loss).clip(min=1) - 1
    members = (place[:, None] == np.arange(len(edges) - 1)).astype(np.float64)
    sums = cluster_sums(np.concatenate([members * failed[:, None], members], axis=1), clusters)
    totals = sums_without_each(sums, seed=settings.seed)
    bins = len(edges) - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = totals[:, :bins] / totals[:, bins:]
    return tuple(
        CalibrationBin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            mean_loss=float(loss[place == i].mean()),
            documents=int(members[:, i].sum()),
            failure_rate=rate(rates[:, i], Over(len(set(clusters[place == i])), unit), settings),
        )
        for i in range(bins)
        if members[:, i].any()
    )
