"""Loss against score across connectors: what the figures of one model cannot say.

With the paper's three models nobody can claim such a correlation; the zoo's connectors differ in nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from scipy import stats

from connector_bench.association.connectors_across import Group, Measured, MeasuredTask
from connector_bench.association.losses import losses_of_a_set
from connector_bench.association.sensitivity import sensitivity
from connector_bench.association.values import AcrossConnectors, Point, SeedValue, Settings, Tested
from connector_bench.results.data_sets import comparable_across
from connector_bench.results.harness_files import UnusableResult
from connector_bench.stats.correlation import rank_correlation
from connector_bench.stats.exact_spearman import MOST_VALUES, exact_p
from connector_bench.stats.few_connectors import rank_interval
from connector_bench.stats.floors import (
    LEAST_CONNECTORS,
    LEAST_OUTCOMES,
    apart_from_the_most_frequent,
    too_few,
)
from connector_bench.stats.intervals import Score

PERMUTATIONS = 9999
"""Of more connectors than have an exact p-value."""
DECIMALS = 6
"""Losses that agree so far are tied: what isometries and invertible maps lose beyond is rounding."""
MEAN_DECIMALS = 9
"""Means over seeds are rounded too, or those of tied seeds would differ in the last bit."""

SUBSETS: Mapping[str, tuple[Group, ...]] = {
    "trained": ("trained",),
    "trained and isometries": ("trained", "isometry"),
    "all": ("trained", "isometry", "untrained"),
}
"""Isometries lose nothing by construction; untrained connectors stay at their random start."""


def across_connectors(models: Sequence[Measured], settings: Settings) -> tuple[AcrossConnectors, ...]:
    """Every loss beside every score of the same data set, or of pictures drawn alike, where two connectors have both.

    Raises:
        UnusableResult: the figures of one task rest on other pictures or documents in one model than in another.
    """
    found = []
    for connector_task, score_task in _task_pairs(models):
        measured = [model for model in models if {connector_task, score_task} <= set(model.tasks)]
        data_sets = [_shared(m.tasks[connector_task], m.tasks[score_task]) for m in measured]
        shared = frozenset().union(*data_sets)
        for task in (connector_task, score_task):
            require_same_documents(task, measured)
        losses = {m.model: losses_of_a_set(m.tasks[connector_task].figures) for m in measured}
        scores = {m.model: m.tasks[score_task].figures for m in measured}
        for loss in _names(losses.values()):
            for score in _names(scores.values()):
                points = _points(measured, losses, loss, scores, score)
                if len(points) > 1:
                    found.append(_across(connector_task, loss, score_task, score, shared, points, settings))
    return tuple(found)


def _task_pairs(models: Sequence[Measured]) -> list[tuple[str, str]]:
    """Connector tasks with the other tasks that read the same data set or drawings, in the order of the files."""
    pairs: dict[tuple[str, str], None] = {}
    for model in models:
        ours = [(task, held) for task, held in model.tasks.items() if held.measures_connector]
        theirs = [(task, held) for task, held in model.tasks.items() if not held.measures_connector]
        pairs |= {(a, b): None for a, one in ours for b, other in theirs if _shared(one, other)}
    return list(pairs)


def _shared(connector_task: MeasuredTask, score_task: MeasuredTask) -> frozenset[str]:
    return comparable_across(connector_task.data_sets) & score_task.data_sets


def require_same_documents(task: str, measured: Sequence[Measured]) -> None:
    """Raises UnusableResult where a task's figures rest on other pictures or documents in one model than in another."""
    first = measured[0]
    for model in measured[1:]:
        if model.tasks[task].documents != first.tasks[task].documents:
            raise UnusableResult(
                f"{task}: {first.model} and {model.model} are not comparable: "
                f"{first.tasks[task].documents} against {model.tasks[task].documents}"
            )


def over_seeds(values: Sequence[float]) -> float:
    """The mean, of which tied seeds have tied ones."""
    return round(float(np.mean(values)), MEAN_DECIMALS)


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
            over_seeds([seed.loss for seed in seeds]),
            over_seeds([seed.score for seed in seeds]),
        )
        for (connector, group), seeds in held.items()
    )


def _across(
    connector_task: str,
    loss: str,
    score_task: str,
    score: str,
    data_sets: frozenset[str],
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
            correlations[name] = found = correlate(chosen, settings)
            if found.p is None:
                refusals[name] = found.score.method
    return AcrossConnectors(
        connector_task,
        loss,
        score_task,
        score,
        data_sets,
        points,
        correlations,
        refusals,
        sensitivity(points),
    )


def correlate(points: Sequence[Point], settings: Settings) -> Tested:
    """Spearman's correlation of the connectors' means over seeds.

    The interval is that of `rank_interval`; seeds scatter the connectors' means, and so are part of it. The p-value is
    that of a permutation test over connectors: exact, over all n! orders, up to twelve of them; of more,
    `PERMUTATIONS` random orders. There is neither where connectors are `too_alike`.
    """
    loss, score = (np.array([getattr(point, side) for point in points]) for side in ("loss", "score"))
    value = float(rank_correlation(loss, score))
    if why := too_alike([loss], score):
        return Tested(Score(value, math.nan, math.nan, len(points), 0.0, why), None)
    low, high = rank_interval(value, len(points), settings.confidence)
    method = f"{100 * settings.confidence:g} % interval of Fisher's z over connectors"
    return Tested(
        Score(value, low, high, len(points), 0.0, method), _permutation_p(loss, score, seed=settings.seed)
    )


def too_alike(losses: Sequence[Float64[np.ndarray, " n"]], scores: Float64[np.ndarray, " n"]) -> str | None:
    """The sentence that stands where an interval's method would, of connectors most of which lose or score the same:
    where one of 8 differs, it makes the whole order. None where enough differ."""
    told = [(values, "lose other than the most frequent loss") for values in losses]
    for values, what in [*told, (scores, "score other than the most frequent score")]:
        apart = apart_from_the_most_frequent(np.round(values, DECIMALS), np.arange(len(values)))
        if apart < LEAST_OUTCOMES:
            return too_few(apart, LEAST_OUTCOMES, f"connectors {what}")
    return None


def _permutation_p(
    losses: Float64[np.ndarray, " n"], scores: Float64[np.ndarray, " n"], *, seed: int
) -> float:
    if len(losses) <= MOST_VALUES:
        return exact_p(losses, scores)
    loss_ranks, score_ranks = stats.rankdata(losses), stats.rankdata(scores)
    drawn = stats.permutation_test(
        (loss_ranks,),
        lambda ranks, axis=-1: (ranks - ranks.mean(axis=axis, keepdims=True)) @ score_ranks,
        permutation_type="pairings",
        n_resamples=PERMUTATIONS,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return float(drawn.pvalue)
