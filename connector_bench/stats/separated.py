"""How far a figure may lie from what was seen where losses (nearly) part failures from successes.

Leaving out one image changes little or nothing there, so a jackknife knows of no spread: of 6 failures that lose more
than any of 14 successes it says that the AUROC is 1, with no width. What follows knows the numbers of images alone.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float
from scipy import optimize, special, stats

from connector_bench.stats.intervals import wilson

NEARLY_NO_SPREAD = 0.5
"""Of the standard error that Fisher's z gives a rank correlation: with less, a jackknife does not know it."""
_EDGE = 1e-9


def area_interval(area: float, failing: int, others: int, confidence: float) -> tuple[float, float]:
    """Ends of the interval of an AUROC of so many images with and without a failure.

    Newcombe's fifth method (Statistics in Medicine 25 (2006) 559): the areas from which this one lies no further than
    Hanley's and McNeil's variance of theirs allows.
    """
    z = float(special.ndtri(0.5 + confidence / 2))

    def beyond(other: float) -> float:
        return (other - area) ** 2 - z**2 * _area_variance(other, failing, others)

    def end(edge: float, towards: float) -> float:
        return float(optimize.brentq(beyond, edge, towards)) if beyond(edge) > 0 > beyond(towards) else edge

    held = min(max(area, _EDGE), 1 - _EDGE)
    return min(area, end(0.0, held)), max(area, end(1.0, held))


def _area_variance(area: float, failing: int, others: int) -> float:
    """Hanley's and McNeil's, with the mean of both numbers for each."""
    more = (failing + others) / 2 - 1
    alike = (1 - area) / (2 - area) + area / (1 + area)
    return area * (1 - area) * (1 + more * alike) / (failing * others)


def area_p(
    area: float, values: Float[np.ndarray, " n"], failed: Bool[np.ndarray, " n"], failing: int, others: int
) -> float:
    """Two-sided, of Mann and Whitney's test; where images have several questions, of its normal approximation for as
    many values as images have a failure, and a success."""
    if failing + others == len(values):
        return float(stats.mannwhitneyu(values[failed], values[~failed]).pvalue)
    error = math.sqrt((failing + others + 1) / (12 * failing * others))
    return float(2 * special.ndtr(-abs(area - 0.5) / error))


def shares_apart(
    first: tuple[float, float], second: tuple[float, float], confidence: float
) -> tuple[float, float, float]:
    """Ends of the interval of `second - first`, and its p-value; each is a share and how many trials it is worth.

    The interval is what follows from Wilson's of both (Newcombe, Statistics in Medicine 17 (1998) 873, method 10), the
    p-value that of the score test of two independent shares.
    """
    (one, ones), (other, others) = first, second
    z = float(special.ndtri(0.5 + confidence / 2))
    ends = [wilson(share, share * (1 - share) / n, round(n), z) for share, n in (first, second)]
    difference = other - one
    below = math.hypot(other - ends[1][0], ends[0][1] - one)
    above = math.hypot(ends[1][1] - other, one - ends[0][0])
    pooled = (one * ones + other * others) / (ones + others)
    variance = pooled * (1 - pooled) * (1 / ones + 1 / others)
    p = 1.0 if variance <= 0 else float(2 * special.ndtr(-abs(difference) / math.sqrt(variance)))
    return difference - below, difference + above, p


def knows_no_spread(value: float, error: float, n: int) -> bool:
    """Whether a jackknife's standard error of a rank correlation of n answers is hardly one."""
    expected = (1 - value**2) * math.sqrt((1 + value**2 / 2) / (n - 3))
    return error <= NEARLY_NO_SPREAD * expected


def correlation_p(value: float, n: int) -> float:
    """Two-sided, of a rank correlation of n points being 0; all in order counts as half a step less."""
    most = 1 - 6 / (n * (n**2 - 1))
    held = min(abs(value), most)
    return float(2 * special.stdtr(n - 2, -held * math.sqrt((n - 2) / (1 - held**2))))
