"""How many images, failures or connectors an interval, a p-value or a choice needs: this is the one place that says so.

Below, there is none, and a sentence says why. Each number is where the simulated coverage of what is printed begins to
hold: .93 to .97 for 95 % intervals, .03 to .07 for tests at .05. `python -m benchmarks.coverage` simulates all of them
again, docs/AGREEMENT.md has the table.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Shaped

from connector_bench.stats.intervals import Score

LEAST_IMAGES = 20
"""Of means, ratios of sums, differences and rank statistics; in a decile, or a quartile, of the loss too."""
LEAST_OUTCOMES = 6
"""Images with a failure, and without one; images whose value is not the most frequent one, of all or of a quartile;
images on which two connectors differ, where images are each other's neighbours; connectors whose loss, or score, is
not the most frequent one."""
LEAST_IN_A_GALLERY = 60
"""Where images are each other's neighbours: overlap."""
IMAGES_A_NEIGHBOUR = 15
"""For each of the k neighbours, where overlaps of two connectors are compared over halves of the images."""
LEAST_FOR_GEOMETRY = 100
"""Geometry of the whole set, ranks, and retrieval."""
LEAST_CONNECTORS = 8
"""Fewer allow no claim: among 7 unrelated points one correlation in 20 lies beyond 0.75."""
LEAST_VALIDATION_IMAGES = 5
"""That choose penalties and the best probe, stop training, and say whether more data helps; of fewer none does."""
IMAGES = "images"
GROUPS = "groups of images that were drawn together"
"""What is counted where images are no independent draws, by the same numbers."""
UNEQUAL_GROUPS = "independent draws, which {groups:,} groups of up to {most:,} images are worth"
"""What is counted where some groups are much larger than others."""


def too_few(n: int, least: int, unit: str = "images") -> str:
    """The sentence that stands where an interval's method would."""
    return f"no interval: {n:,} {unit}, {least} are needed"


def too_few_groups(groups: int, most: int, worth: float, least: int) -> str | None:
    """The same of images that were drawn together: their groups, of up to `most` images, or what these are worth.

    None where they are worth enough draws.
    """
    if worth >= least:
        return None
    if groups < least:
        return too_few(groups, least, GROUPS)
    return too_few(math.floor(worth), least, UNEQUAL_GROUPS.format(groups=groups, most=most))


def floored(score: Score, least: int = LEAST_IMAGES, unit: str = "images") -> Score:
    """The score; below the floor without its interval, and with the reason as its method."""
    if score.n >= least:
        return score
    return replace(score, low=math.nan, high=math.nan, method=too_few(score.n, least, unit))


def apart_from_the_most_frequent(values: Shaped[np.ndarray, " n"], images: Shaped[np.ndarray, " n"]) -> int:
    """Images that have a value other than the most frequent one: what orders a column of ties."""
    distinct, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return len(np.unique(images[place != counts.argmax()])) if len(distinct) > 1 else 0
