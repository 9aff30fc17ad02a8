"""How the overlap falls as the gallery grows, by sub-sampling, and what ten times as many images would give.

The more images, the nearer they lie to one another and the less a map must move them to change their neighbours. Along
sizes the logit of the overlap with chance taken off runs straight in the logarithm of the number of images for maps of
many kinds (docs/KNN.md has simulations), so a line through the sizes that were measured says where the next decade
would lie. It is a trend prolonged, no measurement: no picture of a gallery of that size was seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import special, stats

from connector_bench.metrics import HEADLINE_K
from connector_bench.preservation.drawn_together import Drawn
from connector_bench.preservation.overlap import chance
from connector_bench.preservation.overlap_interval import (
    FREEDOM,
    Halvings,
    corrected_estimate,
    overlap_without_each,
)
from connector_bench.preservation.searched_gallery import SearchedGallery
from connector_bench.stats import jackknife
from connector_bench.stats.floors import LEAST_IN_A_GALLERY
from connector_bench.stats.intervals import Score, plain, wilson

SMALLEST = 125
"""Images of the smallest gallery; each further one is twice as large."""
LARGEST_SHARE = 0.75
"""Of all images: a gallery beyond that is nearly all of them."""
LARGEST = 16_000
"""Beyond that a gallery costs as much as the search of all images, and the line is straight long before."""
PARTS = 4
"""Disjoint galleries of one size at most, over which its overlap is averaged."""
SHARE = 0.01
"""Of a gallery that are neighbours, where k grows with it."""
MOST_K = 100
LEAST_SIZES = 3
"""A line through two points has no error."""
METHOD = "95 % Wilson interval, corrected delete-one jackknife over {unit} of {parts} disjoint galleries"
EXTRAPOLATED = "extrapolated: a line through the logits over {sizes} sizes, 95 % interval of the fit"


@dataclass(frozen=True)
class OfASize:
    """The overlap with chance taken off in galleries of so many images."""

    n: int
    k: int
    score: Score

    def as_record(self) -> dict[str, Any]:
        """As plain values."""
        return {"n": self.n, "k": self.k, **plain(self.score)}


def sizes(n: int) -> list[int]:
    """The galleries that are sub-sampled from `n` images; all of them come last in a curve, beside these."""
    found = []
    size = SMALLEST
    while size <= min(LARGEST_SHARE * n, LARGEST):
        found.append(size)
        size *= 2
    return found


def share_k(n: int) -> int | None:
    """The number of neighbours that is `SHARE` of a gallery; None beyond the longest lists."""
    k = max(1, round(SHARE * n))
    return k if k <= MOST_K else None


def gallery_curve(
    pre: Float[np.ndarray, "n d_pre"],
    post: Float[np.ndarray, "n d_post"],
    gallery: SearchedGallery,
    whole: Score,
    *,
    distance: str,
    seed: int,
    device: str = "cpu",
) -> dict[str, Any] | None:
    """The curve as a record has it; `whole` is the overlap of all images at `HEADLINE_K` with chance taken off.

    None where there are too few images for a smaller gallery.
    """
    n, drawn = len(pre), gallery.drawn
    if not sizes(n):
        return None
    order = np.random.default_rng(seed).permutation(n)
    fixed, shared = [], []
    for size in sizes(n):
        parts = [order[first : first + size] for first in range(0, n - size + 1, size)][:PARTS]
        ks = sorted({HEADLINE_K, share_k(size) or HEADLINE_K})
        alone = [
            SearchedGallery.alone(
                pre[p], post[p], ks, distance=distance, seed=seed, drawn=drawn.take(p), device=device
            )
            for p in parts
        ]
        fixed.append(OfASize(size, HEADLINE_K, _averaged(alone, HEADLINE_K, parts, drawn)))
        if (k := share_k(size)) is not None:
            shared.append(OfASize(size, k, _averaged(alone, k, parts, drawn)))
    fixed.append(OfASize(n, HEADLINE_K, whole))
    k = share_k(n)
    if k is not None and k <= max(gallery.ks):  # the lists are deep enough for halves at that
        halvings = Halvings.of(gallery.common.pre, (k,), drawn=drawn, seed=seed)
        own = replace(gallery, ks=(k,), halvings=halvings)
        shared.append(OfASize(n, k, _averaged([own], k, [np.arange(n)], drawn)))
    found: dict[str, Any] = {
        "fixed_k": [one.as_record() for one in fixed],
        "fixed_share": [one.as_record() for one in shared],
    }
    line = Line.through(fixed)
    if line is not None and any(_logits(fixed[-1:])):
        found["fit"] = asdict(line) | {"at": 10 * n, "extrapolated": plain(line.at(10 * n, fixed[-1]))}
    return found


def _averaged(
    galleries: Sequence[SearchedGallery], k: int, parts: Sequence[Int[np.ndarray, " m"]], drawn: Drawn
) -> Score:
    """Mean over disjoint galleries of one size, the images of each in `parts`; chance taken off.

    They are independent where images are; those that were `drawn` together lie in several of them.
    """
    n, count = len(galleries[0].common.pre), len(galleries)
    each, corrected = [], []
    for gallery in galleries:
        gaps = gallery.halvings.gaps(gallery.common)
        corrections = gallery.halvings.jackknife_correction(gallery.common, gaps)
        each.append(corrected_estimate(gallery.common, k, corrections))
        corrected.append(corrections.get(k, 1.0))
    value = float(np.mean([one.value for one in each]))
    if (untold := drawn.untold(value, n, chance(k, n), LEAST_IN_A_GALLERY)) is not None:
        return untold.adjusted()
    if drawn.independent:
        variance = float(np.mean([one.error**2 for one in each])) / count
        freedom, trials = sum(one.freedom for one in each), n * count
    else:
        images = np.concatenate(parts)
        pulls = [
            _pulls(gallery, k) * share**0.5 / count
            for gallery, share in zip(galleries, corrected, strict=True)
        ]
        among = drawn.take(images)
        found = jackknife.estimate(value, among.without_each(np.concatenate(pulls)), "sums")
        variance, freedom, trials = found.error**2, found.freedom, among.count
    freedom = 1 / (1 / freedom + 1 / (FREEDOM * count))
    low, high = wilson(value, variance, trials, float(stats.t.ppf(0.975, freedom)))
    method = METHOD.format(unit=drawn.unit, parts=count)
    score = Score(value, low, high, n, chance(k, n), method)
    return drawn.floored(score.adjusted(), LEAST_IN_A_GALLERY)


def _pulls(gallery: SearchedGallery, k: int) -> Float[np.ndarray, " m"]:
    """How far the mean over several galleries moves without each image of this one, times their number."""
    without = overlap_without_each(gallery.common, k)
    return np.asarray(without - without.mean())


@dataclass(frozen=True)
class Line:
    """The logit of an overlap over the decimal logarithm of the number of images."""

    slope: float
    """Of the logit, for ten times as many images."""
    error: float
    """Standard error of the slope: the points' own, more where they lie farther from the line than that."""
    sizes: int

    @classmethod
    def through(cls, points: Sequence[OfASize]) -> Line | None:
        """Weighted by the points' intervals; None for too few points with an interval inside 0..1.

        Galleries of different sizes share images, so their errors go the same way, and the slope's is rather too large.
        """
        rows = list(_logits(points))
        if len(rows) < LEAST_SIZES:
            return None
        x, y, error = np.array(rows).T
        weight = 1 / np.square(error)
        centred = x - np.average(x, weights=weight)
        spread = float((weight * np.square(centred)).sum())
        slope = float((weight * centred * y).sum() / spread)
        left = y - np.average(y, weights=weight) - slope * centred
        misfit = float((weight * np.square(left)).sum() / (len(rows) - 2))
        return cls(slope, float(np.sqrt(max(1.0, misfit) / spread)), len(rows))

    def at(self, n: int, last: OfASize) -> Score:
        """The overlap in a gallery of `n` images, along the line from the largest one that was measured."""
        ((x, y, error),) = _logits([last])
        steps = np.log10(n) - x
        middle = y + steps * self.slope
        reach = float(stats.t.ppf(0.975, self.sizes - 1)) * float(np.hypot(error, steps * self.error))
        value, low, high = (float(special.expit(one)) for one in (middle, middle - reach, middle + reach))
        return Score(value, low, high, last.score.n, 0.0, EXTRAPOLATED.format(sizes=self.sizes))


def _logits(points: Sequence[OfASize]) -> Iterator[tuple[float, float, float]]:
    for point in points:
        score = point.score
        if np.isfinite([score.low, score.high]).all() and 0 < score.low < score.value < score.high < 1:
            width = (score.high - score.low) / (2 * stats.norm.ppf(0.975))
            slope = 1 / (score.value * (1 - score.value))
            yield float(np.log10(point.n)), float(special.logit(score.value)), float(width * slope)


def headline(curve: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The one figure of a curve that is a score of the record; none where there is no fit."""
    if curve is None or "fit" not in curve:
        return {}
    return {f"knor_adj_{HEADLINE_K}_tenfold": dict(curve["fit"]["extrapolated"])}
