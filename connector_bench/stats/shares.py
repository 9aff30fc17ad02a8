"""Intervals of shares and of paired differences of shares, that hold where nearly all or nearly none are right.

A jackknife knows the spread of what was seen: where all of 60 answers are right it sees none. Both intervals here are
those of as many independent trials as would vary as much as the images did.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Shaped
from scipy import special

from connector_bench.stats import jackknife
from connector_bench.stats.floors import floored
from connector_bench.stats.intervals import Score, cluster_sums, finite, wilson

WILSON = "{percent:g} % Wilson interval over images"
PAIRED = "{percent:g} % Newcombe interval over images"


def share(
    right: Float[np.ndarray, " n"], images: Shaped[np.ndarray, " n"], *, confidence: float = 0.95
) -> Score:
    """Share of answers that are right (1, else 0); several about one image count as far as they vary."""
    _, found, n = _over_images(right, images)
    low, high = found.value, found.value
    if math.isfinite(found.error):
        low, high = wilson(found.value, found.error**2, n, _quantile(n, confidence))
    return floored(Score(found.value, low, high, n, None, WILSON.format(percent=100 * confidence)))


def paired_difference(
    differences: Float[np.ndarray, " n"], images: Shaped[np.ndarray, " n"], *, confidence: float = 0.95
) -> Score:
    """Mean of what two answer to the same questions, 1 where the first alone is right, -1 the second alone, else 0.

    Each side's share of questions that it alone has right has Wilson's interval, and their difference what follows from
    both (Newcombe, Statistics in Medicine 17 (1998) 2635; with the correlation of two shares of the same questions).
    So questions on which two never differ do not say that they are the same. Of an image with several questions every
    value may be the mean over them: the spread is that of single answers all the same.
    """
    values, found, n = _over_images(differences, images)
    value = found.value
    first, second = float(np.maximum(values, 0).mean()), float(np.maximum(-values, 0).mean())
    spread = first + second - value**2
    trials = float(n)
    if math.isfinite(found.error) and found.error > 0 and spread > 0:
        trials = min(spread / found.error**2, float(len(values)))
    quantile = _quantile(n, confidence)
    ends = [wilson(one, one * (1 - one) / trials, round(trials), quantile) for one in (first, second)]
    odds = first * second / max((1 - first) * (1 - second), 1e-12)
    together = -math.sqrt(min(odds, 1.0))
    reach = [
        math.sqrt(own**2 - 2 * together * own * other + other**2)
        for own, other in (
            (first - ends[0][0], ends[1][1] - second),
            (ends[0][1] - first, second - ends[1][0]),
        )
    ]
    method = PAIRED.format(percent=100 * confidence)
    return floored(Score(value, max(-1.0, value - reach[0]), min(1.0, value + reach[1]), n, None, method))


def _over_images(
    values: Float[np.ndarray, " n"], images: Shaped[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], jackknife.Estimate, int]:
    """The values, their mean with the standard error over images, and how many images there are."""
    array = finite(values, "values")
    sums, sizes = cluster_sums(np.stack([array, np.ones_like(array)], axis=1), np.asarray(images)).T
    value = float(array.mean())
    if len(sums) < 2:
        return array, jackknife.Estimate(value, math.nan, 1.0), len(sums)
    return array, jackknife.estimate(value, jackknife.ratio_without_each(sums, sizes), "sums"), len(sums)


def _quantile(n: int, confidence: float) -> float:
    return -float(special.stdtrit(max(n - 1, 1), (1 - confidence) / 2))
