"""Scores with their uncertainty: bootstrap over images or clusters of values, and shares.

Values come one per image (or one per patch, with the images as clusters). Every random choice is seeded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Shaped
from scipy import special, stats

from connector_bench.stats.bounds import SIGNS, Bound

RESAMPLES = 2000
"""Bootstrap resamples of every interval."""

_BATCH_VALUES = 2**22


@dataclass(frozen=True)
class Score:
    """A measured number with what is needed to read it."""

    value: float
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    n: int
    """How many images (or clusters) it rests on."""
    chance: float | None
    """What a connector that keeps nothing would get; None where that has no meaning."""
    method: str
    """How the interval was made, such as `95 % percentile bootstrap over images`."""

    @property
    def sign(self) -> str:
        """What stands before the value where that is only a bound."""
        return ""

    def __format__(self, spec: str) -> str:
        spec = spec or ".3f"
        chance = "" if self.chance is None else f", chance {self.chance:{spec}}"
        return f"{self.sign}{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}] (n={self.n}{chance})"

    def adjusted(self) -> Score:
        """The score corrected for chance, `(x - c) / (1 - c)` at its value and both ends: 0 at chance, 1 at
        most.

        Raises:
            ValueError: no chance is known, or it is 1.
        """
        if self.chance is None or self.chance >= 1:
            raise ValueError(f"a score is adjusted for a chance below 1, got {self.chance}")
        value, low, high = ((x - self.chance) / (1 - self.chance) for x in (self.value, self.low, self.high))
        return replace(self, value=value, low=low, high=high, chance=0.0)


@dataclass(frozen=True)
class BoundedScore(Score):
    """A score that is known from one side alone, such as a loss that a better probe would lower."""

    bound: Bound = "at most"

    @property
    def sign(self) -> str:
        """`≤` or `≥`, and a space."""
        return SIGNS[self.bound]


def bounded(score: Score, bound: Bound | None) -> Score:
    """The score as a bound; as it is where it is none."""
    if bound is None:
        return score
    return BoundedScore(score.value, score.low, score.high, score.n, score.chance, score.method, bound=bound)


def bootstrap_mean(
    values: Float[np.ndarray, " n"],
    *,
    clusters: Shaped[np.ndarray, " n"] | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    chance: float | None = None,
) -> Score:
    """Mean of per-image values with a percentile bootstrap interval (scipy) over images, or over clusters of
    values.

    With `clusters` (an image id for each patch, say) whole clusters are drawn, and the mean stays the mean
    over values, so that the statistic is a ratio of sums: `sum of cluster sums / sum of cluster sizes`. `n`
    then counts clusters.

    Raises:
        ValueError: values not 1-D or not finite, lengths that differ, or fewer than two images or clusters.
    """
    array = _finite(values, "values")
    if clusters is None:
        return bootstrap((array,), np.mean, seed=seed, confidence=confidence, chance=chance)
    ids = np.asarray(clusters)
    if ids.shape != array.shape:
        raise ValueError(f"{len(array)} values but clusters of shape {ids.shape}")
    sums, sizes = np.ascontiguousarray(cluster_sums(np.stack([array, np.ones_like(array)], axis=1), ids).T)

    def ratio(sums: np.ndarray, sizes: np.ndarray, axis: int = -1) -> Any:
        return sums.sum(axis=axis) / sizes.sum(axis=axis)

    return bootstrap((sums, sizes), ratio, seed=seed, confidence=confidence, chance=chance, unit="clusters")


def wilson(value: float, variance: float, n: int, quantile: float) -> tuple[float, float]:
    """Score interval of a share whose variance is known (Wilson, JASA 22 (1927) 209).

    That of as many independent trials as would have this variance; of `n` trials where the variance is 0, since all
    or nothing in n images proves neither for others. It stays inside 0..1.
    """
    spread = value * (1 - value)
    trials = spread / variance if spread > 0 and variance > 0 else n
    weight = quantile**2 / trials
    centre = (value + weight / 2) / (1 + weight)
    half = float(np.sqrt(weight * (spread + weight / 4))) / (1 + weight)
    return max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half))


def bootstrap(
    data: tuple[np.ndarray, ...],
    statistic: Callable[..., Any],
    *,
    seed: int,
    confidence: float,
    chance: float | None,
    unit: str = "images",
) -> Score:
    """Percentile bootstrap (scipy) of a vectorised statistic; NaN ends if a resample has no value.

    Arrays of the same length are resampled together. The percentiles are expanded to the width
    that a t interval has (Hesterberg, The American Statistician 69 (2015) 371): plain ones are too narrow for
    few images.
    """
    n, least = sum(map(len, data)), min(map(len, data))
    if least < 2:
        raise ValueError(f"an interval needs at least 2 {unit}, got {least}")
    tail = percentile_tail(least, confidence)
    result = stats.bootstrap(
        data,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, _BATCH_VALUES // n),
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = (float(end) for end in result.confidence_interval)
    method = f"{100 * confidence:g} % percentile bootstrap over {unit}"
    value = float(statistic(*data, axis=-1))
    # equal values differ in the last digit between sums of different orders: the interval holds its value
    return Score(value, min(low, value), max(high, value), least, chance, method)


def percentile_tail(n: int, confidence: float) -> float:
    """Share of resamples left out at either end, so that the interval is as wide as a t interval of `n` images."""
    return float(special.ndtr(np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, (1 - confidence) / 2)))


def cluster_sums(
    values: Float64[np.ndarray, "n k"], clusters: Shaped[np.ndarray, " n"]
) -> Float64[np.ndarray, "clusters k"]:
    """Totals of each cluster, clusters in the order of their sorted ids."""
    ids, group = np.unique(clusters, return_inverse=True)
    totals = np.zeros((len(ids), values.shape[1]))
    np.add.at(totals, group, values)
    return totals


def same_length(x: np.ndarray, y: np.ndarray, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Two finite 1-D arrays over the same images, as float64.

    Raises:
        ValueError: otherwise, or fewer than `least` of them.
    """
    first, second = _finite(x, "first"), _finite(y, "second")
    if len(first) != len(second):
        raise ValueError(f"values of the same images are compared, got {len(first)} and {len(second)}")
    if len(first) < least:
        raise ValueError(f"needs at least {least} images, got {len(first)}")
    return first, second


def _finite(values: np.ndarray, name: str) -> Float[np.ndarray, " n"]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-D, one number an image, got shape {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise ValueError(f"{name}: {bad.size} of {len(array)} are not finite, the first is number {bad[0]}")
    return array
