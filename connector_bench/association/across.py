"""Loss against score across connectors: what the figures of one model cannot say.

With the paper's three models nobody can claim such a correlation; the zoo's connectors differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from scipy import special, stats

from connector_bench.association.connectors_across import Group, Measured
from connector_bench.association.losses import losses_of_a_set
from connector_bench.association.values import AcrossConnectors, Point, SeedValue, Settings, Tested
from connector_bench.results.harness_files import UnusableResult
from connector_bench.stats.exact import MOST_POINTS, permutation_p
from connector_bench.stats.floors import LEAST_CONNECTORS
from connector_bench.stats.intervals import Score

PERMUTATIONS = 9999
DECIMALS = 6
"""Losses that agree so far are tied: what isometries and invertible maps lose beyond is rounding."""

SUBSETS: Mapping[str, tuple[Group, ...]] = {
    "trained": ("trained",),
    "trained and isometries": ("trained", "isometry"),
    "all": ("trained", "isometry", "untrained"),
}
"""Isometries lose nothing by construction; untrained connectors stay at their random start."""


def across_connectors(models: Sequence[Measured], settings: Settings) -> tuple[AcrossConnectors, ...]:
    """Every loss beside every score of the same data set, where at least two connectors have both.

    Raises:
        UnusableResult: the figures of one task rest on other pictures or documents in one model than in another.
    """
    found = []
    for connector_task, score_task in _task_pairs(models):
        measured = [model for model in models if {connector_task, score_task} <= set(model.tasks)]
        for task in (connector_task, score_task):
            _require_same_documents(task, measured)
        losses = {m.model: losses_of_a_set(m.tasks[connector_task].figures) for m in measured}
        scores = {m.model: m.tasks[score_task].figures for m in measured}
        for loss in _names(losses.values()):
            for score in _names(scores.values()):
                points = _points(measured, losses, loss, scores, score)
                if len(points) > 1:
                    found.append(_across(connector_task, loss, score_task, score, points, settings))
    return tuple(found)


def _task_pairs(models: Sequence[Measured]) -> list[tuple[str, str]]:
    """Connector tasks with the other tasks that read the same data set, in the order of the files."""
    pairs: dict[tuple[str, str], None] = {}
    for model in models:
        ours = [(task, held) for task, held in model.tasks.items() if held.measures_connector]
        theirs = [(task, held) for task, held in model.tasks.items() if not held.measures_connector]
        pairs |= {(a, b): None for a, one in ours for b, other in theirs if one.data_sets & other.data_sets}
    return list(pairs)


def _require_same_documents(task: str, measured: Sequence[Measured]) -> None:
    first = measured[0]
    for model in measured[1:]:
        if model.tasks[task].documents != first.tasks[task].documents:
            raise UnusableResult(
                f"{task}: {first.model} and {model.model} are not comparable: "
                f"{first.tasks[task].documents} against {model.tasks[task].documents}"
            )


def _names(figures: Iterable[Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for held in figures for name in held))


def _points(
    measured: Sequence[Measured],
    losses: Mapping[str, Mapping[str, float]],
    loss: str,
    scores: Mapping[str, Mapping[str, float]],
    score: str,
) -> tuple[Point, ...]:
    """One point a connector, its seeds in the order of their names."""
    held: dict[tuple[str, Group], list[SeedValue]] = {}
    for model in sorted(measured, key=lambda model: model.model):
        if loss in losses[model.model] and score in scores[model.model]:
            lost = round(losses[model.model][loss], DECIMALS)
            value = SeedValue(model.model, lost, scores[model.model][score])
            held.setdefault((model.connector, model.group), []).append(value)
    return tuple(
        Point(
            connector,
            group,
            tuple(seeds),
            float(np.mean([seed.loss for seed in seeds])),
            float(np.mean([seed.score for seed in seeds])),
        )
        for (connector, group), seeds in held.items()
    )


def _across(
    connector_task: str,
    loss: str,
    score_task: str,
    score: str,
    points: tuple[Point, ...],
    settings: Settings,
) -> AcrossConnectors:
    correlations: dict[str, Tested | None] = {}
    refusals: dict[str, str] = {}
    for name, groups in SUBSETS.items():
        chosen = [point for point in points if point.group in groups]
        correlations[name] = None
        if len(chosen) < LEAST_CONNECTORS:
            refusals[name] = (
                f"{len(chosen)} connectors; a correlation across connectors needs {LEAST_CONNECTORS}"
            )
        elif min(np.ptp([point.loss for point in chosen]), np.ptp([point.score for point in chosen])) == 0:
            refusals[name] = f"{loss} or {score} is the same for all {len(chosen)} connectors"
        else:
            correlations[name] = correlate(chosen, settings)
    return AcrossConnectors(connector_task, loss, score_task, score, points, correlations, refusals)


def correlate(points: Sequence[Point], settings: Settings) -> Tested:
    """Spearman's correlation of the connectors' means over seeds.

    The interval is that of Fisher's z with the variance `(1 + r^2 / 2) / (n - 3)` (Bonett and Wright, Psychometrika 65
    (2000) 23); seeds scatter the connectors' means, and so are part of it. The p-value is that of a permutation test
    over connectors: of every order up to `MOST_POINTS` connectors, of random ones beyond.
    """
    loss, score = (np.array([getattr(point, side) for point in points]) for side in ("loss", "score"))
    value = float(stats.spearmanr(loss, score).statistic)
    low, high = rank_interval(value, len(points), settings.confidence)
    method = f"{100 * settings.confidence:g} % interval of Fisher's z over connectors"
    return Tested(Score(value, low, high, len(points), 0.0, method), _p(loss, score, settings.seed))


def rank_interval(value: float, n: int, confidence: float) -> tuple[float, float]:
    """Ends of the interval of a rank correlation of n points that is `value`.

    All in order counts as half a step of the correlations that n points can have less than that.
    """
    most = 1 - 6 / (n * (n**2 - 1))
    held = float(np.clip(value, -most, most))
    reach = float(special.ndtri(0.5 + confidence / 2)) * np.sqrt((1 + held**2 / 2) / (n - 3))
    low, high = np.tanh(np.arctanh(held) + reach * np.array([-1, 1]))
    return min(float(low), value), max(float(high), value)


def _p(loss: Float64[np.ndarray, " n"], score: Float64[np.ndarray, " n"], seed: int) -> float:
    if len(loss) <= MOST_POINTS:
        return permutation_p(loss, score)
    ranks = stats.rankdata(score)
    drawn = stats.permutation_test(
        (stats.rankdata(loss),),
        lambda first, axis=-1: (first - first.mean(axis=axis, keepdims=True)) @ ranks,
        permutation_type="pairings",
        n_resamples=PERMUTATIONS,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return float(drawn.pvalue)
