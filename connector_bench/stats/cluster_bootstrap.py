"""Bootstrap over clusters (images with several questions) of rank statistics, without sorting every resample.

A resample draws whole clusters, so it is a number of copies for each cluster. Ranks of a resample follow from these
numbers and the order of the original values alone: sorting happens once, and every further resample costs one pass
over the values. All columns share the resamples, so differences between them are paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Shaped
from scipy import special

from connector_bench.stats import intervals
from connector_bench.stats.intervals import Score

_BATCH_VALUES = 2**18
"""Values held at once: few enough for the processor's cache."""


@dataclass(frozen=True)
class RankDraws:
    """Rank statistics of a sample (entry 0) and of its resamples (the other entries)."""

    correlations: Float64[np.ndarray, "draws columns columns"]
    """Spearman's correlations of all pairs of columns; NaN where a column is constant."""
    areas: Float64[np.ndarray, "draws columns outcomes"]
    """AUROC of each column for each outcome; NaN where a resample has one outcome only."""
    clusters: int


def rank_draws(
    columns: Float64[np.ndarray, "columns n"],
    outcomes: Bool[np.ndarray, "outcomes n"],
    clusters: Shaped[np.ndarray, " n"],
    *,
    seed: int = 0,
    resamples: int | None = None,
) -> RankDraws:
    """Spearman's correlations between columns, and their AUROCs for outcomes, in the sample and its resamples.

    Ties get their mean rank, as `scipy.stats.rankdata` gives it on the written-out resample.

    Raises:
        ValueError: values not finite, or fewer than two clusters.
    """
    if not np.isfinite(columns).all():
        raise ValueError(f"ranks need finite values, got {np.count_nonzero(~np.isfinite(columns))} others")
    ids, group = np.unique(clusters, return_inverse=True)
    columns_sorted = [_SortedColumn.of(column) for column in columns]
    correlations, areas = [], []
    for counts in _with_the_sample(len(ids), seed, resamples, len(columns) * columns.shape[1]):
        copies = counts[:, group]
        ranks = np.stack([column.ranks(copies) for column in columns_sorted], axis=1)
        correlations.append(_correlations(ranks, copies))
        areas.append(_areas(ranks, copies, outcomes))
    return RankDraws(np.concatenate(correlations), np.concatenate(areas), len(ids))


def sum_draws(
    sums: Float64[np.ndarray, "clusters k"], *, seed: int = 0, resamples: int | None = None
) -> Float64[np.ndarray, "draws k"]:
    """Totals over clusters of `k` quantities, in the sample (entry 0) and its resamples; means are their ratios.

    Raises:
        ValueError: fewer than two clusters.
    """
    batches = _with_the_sample(len(sums), seed, resamples, len(sums))
    return np.concatenate([counts @ sums for counts in batches])


def partial_draws(
    correlations: Float64[np.ndarray, "draws c c"], x: int, y: int, controls: Sequence[int]
) -> Float64[np.ndarray, " draws"]:
    """Correlation of columns `x` and `y` with the controls regressed out of both, from correlation matrices.

    NaN where the controls determine one of them.
    """
    held = list(controls)
    inverse = np.linalg.pinv(np.nan_to_num(correlations[:, held][:, :, held]), hermitian=True)

    def remaining(a: int, b: int) -> np.ndarray:
        explained = np.einsum("di,dij,dj->d", correlations[:, a, held], inverse, correlations[:, held, b])
        return correlations[:, a, b] - explained

    of_x, of_y = remaining(x, x), remaining(y, y)
    free = (of_x > 1e-9) & (of_y > 1e-9)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(free, remaining(x, y) / np.sqrt(of_x * of_y), np.nan)


def score_of(
    draws: Float64[np.ndarray, " draws"],
    clusters: int,
    *,
    chance: float | None,
    confidence: float = 0.95,
    unit: str = "clusters",
) -> Score:
    """The sample's value (entry 0) with the percentile interval of its resamples, widened for few clusters.

    The percentiles are those of `intervals.bootstrap`. Resamples without a value are left out.
    """
    value, resampled = float(draws[0]), draws[1:][np.isfinite(draws[1:])]
    method = f"{100 * confidence:g} % percentile bootstrap over {unit}"
    if not np.isfinite(value) or not len(resampled):
        return Score(value, float("nan"), float("nan"), clusters, chance, method)
    tail = intervals.percentile_tail(clusters, confidence)
    low, high = (float(end) for end in np.quantile(resampled, [tail, 1 - tail]))
    return Score(value, min(low, value), max(high, value), clusters, chance, method)


def p_value(draws: Float64[np.ndarray, " draws"], clusters: int, *, null: float) -> float | None:
    """Two-sided p-value of the sample's value (entry 0): t with the bootstrap's standard error, `clusters - 1`
    degrees of freedom; None where there is no value.

    Where all resamples agree (a loss that separates failures without exception) it is 0, or 1 at `null`.
    """
    value, resampled = float(draws[0]), draws[1:][np.isfinite(draws[1:])]
    if not np.isfinite(value) or len(resampled) < 2:
        return None
    distance, spread = abs(value - null), float(np.std(resampled, ddof=1))
    if spread == 0:
        return float(distance == 0)
    return float(2 * special.stdtr(clusters - 1, -distance / spread))


@dataclass(frozen=True)
class _SortedColumn:
    """The order of one column's values: what its ranks need besides the number of copies."""

    order: Int[np.ndarray, " n"]
    starts: Int[np.ndarray, " steps"]
    """Where in `order` each distinct value begins."""
    step: Int[np.ndarray, " n"]
    """Which distinct value each entry has."""

    @classmethod
    def of(cls, values: Float64[np.ndarray, " n"]) -> _SortedColumn:
        _, starts, step = np.unique(values, return_index=True, return_inverse=True)
        order = np.argsort(step, kind="stable")
        starts = np.searchsorted(step[order], np.arange(len(starts)))
        return cls(order, starts, step)

    def ranks(self, copies: Float64[np.ndarray, "b n"]) -> Float64[np.ndarray, "b n"]:
        weight = copies[:, self.order]
        if len(self.starts) < copies.shape[1]:
            weight = np.add.reduceat(weight, self.starts, axis=1)
        below = weight.cumsum(axis=1) - weight
        return (below + (weight + 1) / 2)[:, self.step]


def _with_the_sample(
    clusters: int, seed: int, resamples: int | None, size: int
) -> Iterator[Float64[np.ndarray, "b clusters"]]:
    """Copies of each cluster: first one of each, then the resamples in batches."""
    if clusters < 2:
        raise ValueError(f"an interval needs at least 2 clusters, got {clusters}")
    left = intervals.RESAMPLES if resamples is None else resamples
    rng = np.random.default_rng(seed)
    yield np.ones((1, clusters))
    while left > 0:
        batch = min(left, max(1, _BATCH_VALUES // size))
        drawn = rng.integers(clusters, size=(batch, clusters)) + clusters * np.arange(batch)[:, None]
        yield (
            np.bincount(drawn.ravel(), minlength=batch * clusters).reshape(batch, clusters).astype(np.float64)
        )
        left -= batch


def _correlations(
    ranks: Float64[np.ndarray, "b c n"], copies: Float64[np.ndarray, "b n"]
) -> Float64[np.ndarray, "b c c"]:
    centred = ranks - (copies.sum(axis=1)[:, None, None] + 1) / 2
    products = (centred * copies[:, None]) @ centred.transpose(0, 2, 1)
    scale = np.sqrt(np.einsum("bcc->bc", products))
    with np.errstate(invalid="ignore", divide="ignore"):
        return products / (scale[:, :, None] * scale[:, None, :])


def _areas(
    ranks: Float64[np.ndarray, "b c n"],
    copies: Float64[np.ndarray, "b n"],
    outcomes: Bool[np.ndarray, "o n"],
) -> Float64[np.ndarray, "b c o"]:
    """Mann and Whitney: the mean rank of those with the outcome, less what it would be among themselves."""
    chosen = copies[:, None] * outcomes
    with_it = chosen.sum(axis=2)[:, None]
    without = copies.sum(axis=1)[:, None, None] - with_it
    with np.errstate(invalid="ignore", divide="ignore"):
        return (ranks @ chosen.transpose(0, 2, 1) / with_it - (with_it + 1) / 2) / without
