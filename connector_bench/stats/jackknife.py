"""Intervals and p-values from leaving out one image, or one cluster, at a time.

The spread of a figure over the samples that lack one image gives its standard error (Quenouille, Biometrika 43 (1956)
353; Tukey 1958). How far that standard error can be trusted depends on how evenly the images pull: where a few carry
most of the variance, so few degrees of freedom does the t distribution get.

- A ratio of sums is unbounded: n over the kurtosis of the pulls, which is the number of images that would pull evenly
  with as much variance of squares.
- Ranks are bounded: Satterthwaite's `2 n / (kurtosis - 1)`, n for normal pulls, few for rare failures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Shaped
from scipy import special

from connector_bench.stats.floors import floored
from connector_bench.stats.intervals import Score, cluster_sums, finite

Kind = Literal["sums", "ranks"]
Scale = Literal["plain", "area"]
"""Where the interval is symmetric: an `area`, which lies in 0..1, on the scale of the arcsine of its root."""

METHOD = "{percent:g} % jackknife t interval over {unit}"


@dataclass(frozen=True)
class Estimate:
    """A figure with its standard error."""

    value: float
    error: float
    freedom: float
    """Degrees of freedom of the standard error."""

    def quantile(self, confidence: float) -> float:
        """Of the t distribution, for a two-sided interval."""
        return float(-special.stdtrit(self.freedom, (1 - confidence) / 2))


def ratio_without_each(
    top: Float[np.ndarray, " n"], bottom: Float[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """Ratio of sums over the other images, for each image that is left out."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((top.sum() - top) / (bottom.sum() - bottom), dtype=np.float64)


def ratio(
    top: Float[np.ndarray, " n"],
    bottom: Float[np.ndarray, " n"],
    *,
    sign: float = 1.0,
    offset: float = 0.0,
    chance: float | None = None,
    confidence: float = 0.95,
    unit: str = "images",
) -> Score:
    """`offset + sign * sum(top) / sum(bottom)`. Below `floors.LEAST_IMAGES` images there is no interval."""
    figure = offset + sign * float(top.sum() / bottom.sum())
    without = offset + sign * ratio_without_each(top, bottom)
    if len(top) < 2:
        return floored(Score(figure, math.nan, math.nan, len(top), chance, ""), unit=unit)
    found = score(figure, without, kind="sums", chance=chance, confidence=confidence, unit=unit)
    return floored(found, unit=unit)


def mean(
    values: Float[np.ndarray, " n"],
    *,
    clusters: Shaped[np.ndarray, " n"] | None = None,
    confidence: float = 0.95,
    chance: float | None = None,
) -> Score:
    """Mean of per-image values, over images or over clusters of values.

    With `clusters` (an image id for each patch, say) whole clusters are left out, and the mean stays the mean over
    values, a ratio of sums: `sum of cluster sums / sum of cluster sizes`. `n` then counts clusters.

    Raises:
        ValueError: values not 1-D or not finite, or lengths that differ.
    """
    array = finite(values, "values")
    if clusters is None:
        return ratio(array, np.ones(len(array)), chance=chance, confidence=confidence)
    ids = np.asarray(clusters)
    if ids.shape != array.shape:
        raise ValueError(f"{len(array)} values but clusters of shape {ids.shape}")
    sums, sizes = cluster_sums(np.stack([array, np.ones_like(array)], axis=1), ids).T
    return ratio(sums, sizes, chance=chance, confidence=confidence, unit="clusters")


def estimate(value: float, without: Float[np.ndarray, " n"], kind: Kind) -> Estimate:
    """From the figure with each image (or group) left out, at least two; NaN where one of them has no value."""
    n = len(without)
    pulls = without - without.mean()
    squares = np.square(pulls)
    variance = float(squares.mean())
    if not variance > 0:
        return Estimate(value, variance, float(n - 1))  # NaN stays NaN
    kurtosis = float(np.square(squares).mean() / variance**2)
    freedom = n / kurtosis if kind == "sums" else 2 * n / max(kurtosis - 1, 2 * n / (n - 1))
    return Estimate(value, float(np.sqrt((n - 1) * variance)), float(np.clip(freedom, 1, n - 1)))


def interval(found: Estimate, *, confidence: float = 0.95, scale: Scale = "plain") -> tuple[float, float]:
    """Ends of the t interval; NaN where the standard error is."""
    reach = found.quantile(confidence) * found.error
    if scale == "plain" or not reach > 0:
        return found.value - reach, found.value + reach
    middle, half = np.arcsin(np.sqrt(found.value)), reach * _slope(found.value)
    low, high = np.sin(np.clip([middle - half, middle + half], 0, np.pi / 2)) ** 2
    return float(low), float(high)


def p_value(found: Estimate, null: float, *, scale: Scale = "plain") -> float | None:
    """Two-sided, of the figure being `null`; None where it has no value or no standard error.

    Where leaving out any image changes nothing it is 0, or 1 at `null`.
    """
    distance, error = abs(found.value - null), found.error
    if scale == "area" and np.isfinite(found.value):
        distance = abs(float(np.arcsin(np.sqrt(found.value)) - np.arcsin(np.sqrt(null))))
        error *= _slope(found.value)
    if not np.isfinite([distance, error]).all():
        return None
    if error == 0:
        return float(distance == 0)
    return float(2 * special.stdtr(found.freedom, -distance / error))


def score(
    value: float,
    without: Float[np.ndarray, " n"],
    *,
    kind: Kind,
    chance: float | None = None,
    confidence: float = 0.95,
    scale: Scale = "plain",
    unit: str = "images",
    n: int | None = None,
) -> Score:
    """The figure with its interval; `n` where groups of images were left out."""
    low, high = interval(estimate(value, without, kind), confidence=confidence, scale=scale)
    method = METHOD.format(percent=100 * confidence, unit=unit)
    return Score(value, min(low, value), max(high, value), n or len(without), chance, method)


def _slope(area: float) -> float:
    """Of the arcsine of the root."""
    return float(0.5 / np.sqrt(max(area * (1 - area), 1e-9)))
