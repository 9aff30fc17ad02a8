"""Rank statistics with one cluster (an image with several questions) left out at a time, without sorting again.

A sample without a cluster is a number of copies for each cluster, 0 for that one. Ranks follow from these numbers and
the order of the original values alone: sorting happens once, and every further sample costs one pass over the values.
All columns share the samples, so differences between them are paired. Of very many clusters, groups are left out
(the delete-a-group jackknife).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Shaped

from connector_bench.stats import jackknife
from connector_bench.stats.floors import LEAST_IMAGES, floored
from connector_bench.stats.intervals import Score
from connector_bench.stats.jackknife import Scale

MOST_GROUPS = 1000
"""Samples that lack some clusters; of more clusters than that, several are left out together."""
_BATCH_VALUES = 2**18
"""Values held at once: few enough for the processor's cache."""


@dataclass(frozen=True)
class RanksWithout:
    """Rank statistics of a sample (entry 0), and without one cluster after the other (the other entries)."""

    correlations: Float64[np.ndarray, "draws columns columns"]
    """Spearman's correlations of all pairs of columns; NaN where a column is constant."""
    areas: Float64[np.ndarray, "draws columns outcomes"]
    """AUROC of each column for each outcome; NaN where only one outcome is left."""
    clusters: int


def ranks_without_each(
    columns: Float64[np.ndarray, "columns n"],
    outcomes: Bool[np.ndarray, "outcomes n"],
    clusters: Shaped[np.ndarray, " n"],
    *,
    seed: int = 0,
) -> RanksWithout:
    """Spearman's correlations between columns, and their AUROCs for outcomes, in the sample and without each cluster.

    Ties get their mean rank, as `scipy.stats.rankdata` gives it on the written-out sample.

    Raises:
        ValueError: values not finite, or fewer than two clusters.
    """
    if not np.isfinite(columns).all():
        raise ValueError(f"ranks need finite values, got {np.count_nonzero(~np.isfinite(columns))} others")
    ids, group = np.unique(clusters, return_inverse=True)
    columns_sorted = [_SortedColumn.of(column) for column in columns]
    correlations, areas = [], []
    for counts in _with_the_sample(len(ids), seed, len(columns) * columns.shape[1]):
        copies = counts[:, group]
        ranks = np.stack([column.ranks(copies) for column in columns_sorted], axis=1)
        correlations.append(_correlations(ranks, copies))
        areas.append(_areas(ranks, copies, outcomes))
    return RanksWithout(np.concatenate(correlations), np.concatenate(areas), len(ids))


def sums_without_each(
    sums: Float64[np.ndarray, "clusters k"], *, seed: int = 0
) -> Float64[np.ndarray, "draws k"]:
    """Totals over clusters of `k` quantities, in the sample (entry 0) and without each; means are their ratios.

    Raises:
        ValueError: fewer than two clusters.
    """
    batches = _with_the_sample(len(sums), seed, len(sums))
    return np.concatenate([counts @ sums for counts in batches])


def partials(
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
    values: Float64[np.ndarray, " draws"],
    clusters: int,
    *,
    chance: float | None,
    confidence: float = 0.95,
    scale: Scale = "plain",
    unit: str = "clusters",
) -> Score:
    """The sample's value (entry 0) with its jackknife interval, none below the floor or where one has no value."""
    value = float(values[0])
    found = jackknife.score(
        value,
        values[1:],
        kind="ranks",
        chance=chance,
        confidence=confidence,
        scale=scale,
        unit=unit,
        n=clusters,
    )
    return floored(found, unit=unit)


def p_value(
    values: Float64[np.ndarray, " draws"], clusters: int, *, null: float, scale: Scale = "plain"
) -> float | None:
    """Two-sided p-value of the sample's value (entry 0); None where `score_of` has no interval."""
    if clusters < LEAST_IMAGES:
        return None
    return jackknife.p_value(jackknife.estimate(float(values[0]), values[1:], "ranks"), null, scale=scale)


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


def _with_the_sample(clusters: int, seed: int, size: int) -> Iterator[Float64[np.ndarray, "b clusters"]]:
    """Copies of each cluster: first one of each, then all but a group, in batches."""
    if clusters < 2:
        raise ValueError(f"an interval needs at least 2 clusters, got {clusters}")
    groups = np.arange(clusters)
    if clusters > MOST_GROUPS:
        groups = np.random.default_rng(seed).permutation(clusters) % MOST_GROUPS
    count = min(clusters, MOST_GROUPS)
    yield np.ones((1, clusters))
    batch = max(1, _BATCH_VALUES // size)
    for first in range(0, count, batch):
        left_out = np.arange(first, min(first + batch, count))
        yield (groups != left_out[:, None]).astype(np.float64)


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
