"""Scores with their uncertainty, the interval of a share, and what is summed by image."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Shaped

from connector_bench.stats.bounds import SIGNS, Bound


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
    """How the interval was made, such as `95 % jackknife t interval over images`, or why there is none."""

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


def cluster_sums(
    values: Float64[np.ndarray, "n k"], clusters: Shaped[np.ndarray, " n"]
) -> Float64[np.ndarray, "clusters k"]:
    """Totals of each cluster, clusters in the order of their sorted ids."""
    ids, group = np.unique(clusters, return_inverse=True)
    totals = np.zeros((len(ids), values.shape[1]))
    np.add.at(totals, group, values)
    return totals


def plain(score: Score) -> dict[str, Any]:
    """As plain values; NaN becomes null, which JSON knows, and what is several a list."""
    return {key: _plain(value) for key, value in asdict(score).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return None if isinstance(value, float) and math.isnan(value) else value


def same_length(x: np.ndarray, y: np.ndarray, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Two finite 1-D arrays over the same images, as float64.

    Raises:
        ValueError: otherwise, or fewer than `least` of them.
    """
    first, second = finite(x, "first"), finite(y, "second")
    if len(first) != len(second):
        raise ValueError(f"values of the same images are compared, got {len(first)} and {len(second)}")
    if len(first) < least:
        raise ValueError(f"needs at least {least} images, got {len(first)}")
    return first, second


def finite(values: np.ndarray, name: str) -> Float[np.ndarray, " n"]:
    """A 1-D array of finite numbers, as float64. ValueError otherwise."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-D, one number an image, got shape {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise ValueError(f"{name}: {bad.size} of {len(array)} are not finite, the first is number {bad[0]}")
    return array
