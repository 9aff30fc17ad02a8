"""Lines that predict each connector from all others: errors, R2, its interval, and the p-value of the best of many.

A connector is one point, the mean over its seeds, so that no seed of a connector tells anything of another one's.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from connector_bench.stats.correlation import rank_correlation
from connector_bench.stats.few_connectors import rank_interval
from connector_bench.stats.floors import LEAST_CONNECTORS, floored
from connector_bench.stats.intervals import Score
from connector_bench.stats.jackknife import estimate
from connector_bench.stats.unlike_images import FURTHEST

PERMUTATIONS = 9999
AT_ONCE = 250
"""Permutations whose errors are held in memory together."""
NO_OTHER_PLACE = 1e-9
"""A connector all others of which share one figure leaves no line behind; it is predicted by their mean."""
WHOLE = 1e-12
"""Share of squared errors below which a score is predicted as a whole, up to rounding."""


def left_out_errors(
    figures: Float64[np.ndarray, "p n"], scores: Float64[np.ndarray, "n t"]
) -> Float64[np.ndarray, "p n t"]:
    """True less predicted score of each connector, by the least-squares line through all others."""
    return np.asarray(_operators(figures) @ scores)


def _operators(figures: Float64[np.ndarray, "p n"]) -> Float64[np.ndarray, "p n n"]:
    """By figure, the matrix that makes scores into errors: residuals of the line through all over 1 less leverage."""
    n = figures.shape[1]
    deviations = figures - figures.mean(axis=1, keepdims=True)
    sums = np.square(deviations).sum(axis=1)[:, None, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        hat = 1 / n + np.where(sums > 0, deviations[:, :, None] * deviations[:, None, :] / sums, 0)
        free = 1 - np.diagonal(hat, axis1=1, axis2=2)[:, :, None]
        by_line = (np.eye(n) - hat) / free
    return np.where(free > NO_OTHER_PLACE, by_line, _constant(n))


def _constant(n: int) -> Float64[np.ndarray, "n n"]:
    """The matrix that makes scores into errors of the constant prediction, the mean of all others."""
    return np.asarray((np.eye(n) - 1 / n) * n / (n - 1))


def constant_errors(scores: Float64[np.ndarray, "n t"]) -> Float64[np.ndarray, "n t"]:
    """True score less the mean of all other connectors."""
    return np.asarray(_constant(len(scores)) @ scores)


def r2_left_out(
    figures: Float64[np.ndarray, "p n"], scores: Float64[np.ndarray, "n t"]
) -> Float64[np.ndarray, "p t"]:
    """1 less squared errors of the lines over those of the constant prediction in the same folds."""
    errors = np.square(left_out_errors(figures, scores)).sum(axis=1)
    return np.asarray(1 - errors / np.square(constant_errors(scores)).sum(axis=0))


def without_each(
    figures: Float64[np.ndarray, "p n"], scores: Float64[np.ndarray, "n t"]
) -> Float64[np.ndarray, "n p t"]:
    """`r2_left_out` of all other connectors, for each that is taken away; NaN where the others share one score."""
    others = [np.arange(len(scores)) != place for place in range(len(scores))]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([r2_left_out(figures[:, kept], scores[kept]) for kept in others])


def best_of_permuted(
    figures: Float64[np.ndarray, "p n"], scores: Float64[np.ndarray, "n t"], *, seed: int
) -> Float64[np.ndarray, " permutations"]:
    """The best `r2_left_out` of all pairs, for `PERMUTATIONS` random orders of the connectors' scores.

    A connector's scores stay together, so that the targets go with each other as they do.
    """
    rng = np.random.default_rng(seed)
    n, targets = scores.shape
    operators = _operators(figures).reshape(-1, n)
    total = np.square(constant_errors(scores)).sum(axis=0)
    best = []
    for begin in range(0, PERMUTATIONS, AT_ONCE):
        count = min(AT_ONCE, PERMUTATIONS - begin)
        orders = rng.permuted(np.tile(np.arange(n), (count, 1)), axis=1)
        drawn = scores[orders].transpose(1, 0, 2).reshape(n, -1)
        errors = np.square((operators @ drawn).reshape(len(figures), n, -1)).sum(axis=1)
        r2 = 1 - errors.reshape(len(figures), count, targets) / total
        best.append(r2.max(axis=(0, 2)))
    return np.concatenate(best)


def family_p(
    r2: Float64[np.ndarray, "p t"], best: Float64[np.ndarray, " permutations"]
) -> Float64[np.ndarray, "p t"]:
    """Share of the orders, the observed one among them, in which the best of all pairs reaches each R2."""
    below = np.searchsorted(np.sort(best), r2 - WHOLE, side="left")
    return np.asarray((1 + len(best) - below) / (1 + len(best)))


def r2_score(value: float, without: Float64[np.ndarray, " n"], confidence: float) -> Score:
    """R2 with the jackknife interval over connectors, symmetric for the logarithm of what is left unpredicted.

    Degrees of freedom are those of a ratio of sums: few where one connector carries the figure.
    """
    n = len(without)
    method = f"{100 * confidence:g} % jackknife t interval over connectors, of log(1 - R2)"
    if n < LEAST_CONNECTORS:
        return floored(Score(value, np.nan, np.nan, n, 0.0, ""), LEAST_CONNECTORS, "connectors")
    if not np.isfinite(without).all():
        why = "no interval: without one of them, all other connectors score the same"
        return Score(value, np.nan, np.nan, n, 0.0, why)
    middle, logs = np.log(max(1 - value, WHOLE)), np.log(np.maximum(1 - without, WHOLE))
    found = estimate(float(middle), logs, "sums")
    reach = min(found.quantile(confidence) * found.error, FURTHEST)
    low, high = 1 - np.exp(middle + reach), 1 - np.exp(middle - reach)
    ends = min(float(low), value), max(float(high), value)
    return Score(value, *ends, n, 0.0, method)


def rank_score(
    predicted: Float64[np.ndarray, " n"],
    true: Float64[np.ndarray, " n"],
    confidence: float,
    *,
    beaten: bool = True,
) -> Score:
    """Spearman's correlation of predicted and true scores with `rank_interval`; NaN where a side is constant.

    There is no interval unless the constant prediction is `beaten`: it lowers what it says of a connector that is above
    the others, so left-out predictions that say nothing run against the truth, by -.4 in the mean.
    """
    value, n = float(rank_correlation(predicted, true)), len(true)
    if not np.isfinite(value):
        why = "no interval: all predicted or all true scores are the same"
        return Score(np.nan, np.nan, np.nan, n, 0.0, why)
    if n < LEAST_CONNECTORS:
        return floored(Score(value, np.nan, np.nan, n, 0.0, ""), LEAST_CONNECTORS, "connectors")
    if not beaten:
        return Score(value, np.nan, np.nan, n, 0.0, "no interval: no better than the constant prediction")
    method = f"{100 * confidence:g} % interval of Fisher's z over connectors"
    return Score(value, *rank_interval(value, n, confidence), n, 0.0, method)
