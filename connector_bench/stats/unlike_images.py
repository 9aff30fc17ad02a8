"""The interval of a mean of errors, which are above 0 and may be of very unlike size from image to image.

Where a few images in a hundred hold most of the sum, a sample may lack them all, and its own spread then does not know
of them. So the interval is one of the logarithm, and no narrower than that of log-normal images as unlike as those
above the median: their logarithms tell of the rare ones, also where none has come.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy import special

from connector_bench.stats import jackknife
from connector_bench.stats.intervals import Score

EVENLY_CARRIED = 1_000
"""Images from which the spread of a figure counts as carried by all of them, unless they are very unlike."""
VERY_UNLIKE = 1.0
"""Spread of the logarithm from which a mean of any number of images gets its interval here."""
LEAST_FREEDOM = 3
"""Degrees of freedom of the images' own spread: fewer add nothing to what log-normal images say."""
FURTHEST = float(np.log(100))
"""An interval from a hundredth of the value to a hundred times it says that nobody knows; no end lies further."""

METHOD = "{percent:g} % jackknife t interval over images (logarithm), no narrower than of log-normal ones"


def mean_error(
    top: Float[np.ndarray, " n"],
    bottom: Float[np.ndarray, " n"],
    *,
    chance: float | None = None,
    confidence: float = 0.95,
) -> Score:
    """`sum(top) / sum(bottom)` of errors and what each is measured by, image by image.

    Of `EVENLY_CARRIED` images that are not `VERY_UNLIKE`, and of none with an error, it is `jackknife.ratio`.
    """
    plain = jackknife.ratio(top, bottom, chance=chance, confidence=confidence)
    spread = upper_spread(np.asarray(top, dtype=np.float64) / bottom)
    if not (np.isfinite(plain.low) and plain.value > 0):
        return plain
    if plain.n >= EVENLY_CARRIED and spread <= VERY_UNLIKE:
        return plain
    found = jackknife.estimate(plain.value, jackknife.ratio_without_each(top, bottom), "sums")
    of_normal = float(-special.stdtrit(plain.n / 2, (1 - confidence) / 2))
    own = replace(found, freedom=max(found.freedom, LEAST_FREEDOM)).quantile(confidence)
    with np.errstate(over="ignore"):
        unlike = float(np.sqrt(np.expm1(spread**2) / plain.n))
    reach = max(own * found.error / plain.value, of_normal * unlike)
    low, high = (plain.value * np.exp(sign * min(reach, FURTHEST)) for sign in (-1, 1))
    return replace(plain, low=float(low), high=float(high), method=METHOD.format(percent=100 * confidence))


def upper_spread(errors: Float[np.ndarray, " n"]) -> float:
    """Standard deviation of the logarithm, from the half of the images above the median; 0 where that is 0."""
    median = float(np.median(errors))
    above = errors[errors > median]
    if not len(above) or not median > 0:
        return 0.0
    return float(np.sqrt(np.square(np.log(above / median)).mean()))
