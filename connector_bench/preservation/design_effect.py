"""How much more a mean over images varies than the spread of its values says, since images share their gallery.

The design effect (Kish, Survey Sampling (1965), section 5.4) of a mean whose values depend on one another, measured
in disjoint halves of the images. Two halves are independent galleries, so half the squared difference of their means
is unbiased for the variance of such a mean, whatever the dependence inside a half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy import stats

from connector_bench.preservation.drawn_together import (
    Drawn,
    larger_by,
    lopsided,
    of_equal_halves,
    random_halves,
)
from connector_bench.preservation.neighbours.ranking import Halved, Ordered
from connector_bench.stats.floors import LEAST_FOR_GEOMETRY
from connector_bench.stats.intervals import Score, wilson

MAX_SAMPLE = 1000
"""Images among which design effects are measured; of a larger set, so many are drawn."""

TRIALS = 60

ROUNDING = 1e-9
"""Of the pulls of groups, beside what values differ by."""

FREEDOM = 30
"""Degrees of freedom of a design effect: halvings of one set leave it a quarter uncertain in simulations, 2 / .25^2."""

Column = Float[np.ndarray, " n"]
InHalves = Callable[[Halved, Halved], Mapping[str, Column | tuple[Column, Column]]]
"""Values of every image when each half is its own gallery, from both sides' order; NaN where an image has none. Two of
them where halves are compared by the second: by half as many neighbours, which reach as far as all do in the whole."""


GROWTH = 2**0.5
"""Of what a design effect of average precision has beyond 1, from half galleries to the whole: classes have half as
many images there. Measured by simulation with 60 to 400 images."""

Kind = Literal["share", "precision", "positive", "close to 1", "difference", "difference of hits"]
"""What a mean is, and so which interval it gets.

A `share` and average `precision` get Wilson's, which stays inside 0..1. Means of ranks (`positive`, and `close to 1`
for what they lack to 1) are skewed and vary the more the larger they are: a t interval of the logarithm. A
`difference` (of average precision) gets a t interval; a `difference of hits`, which is 0 for most images, gets one more
win and one more loss (Bonett and Price, Psychological Methods 17 (2012) 43). Degrees of freedom of all but hits are
those of the images that carry the spread (n over the kurtosis of the values) and of the design effect together.
"""


@dataclass(frozen=True, eq=False)
class Effect:
    """How much a mean varies beyond the spread of its values, and by how much halves differ."""

    size: float
    """Variance of the mean over that of independent values, or groups of them; 1 where nothing varies."""
    gaps: Float64[np.ndarray, " t"]
    """Mean in one half less that in the other, by halving."""
    draws: float = math.inf
    """Independent draws that were halved."""


@dataclass(frozen=True)
class GalleryScore(Score):
    """A mean over images that share their gallery, and by how much halves of them differ."""

    halving_gaps: tuple[float, ...] = ()
    """Of halves that depend on the images alone, in units in which a quarter of their mean square is the figure's
    variance: by these, two connectors on the same images are compared."""


def design_effects(
    pre: Ordered, post: Ordered, measures: Sequence[InHalves], *, drawn: Drawn | None = None, seed: int = 0
) -> dict[str, Effect]:
    """What sharing a gallery does to the mean of each kind of value, beyond what being `drawn` together does."""
    drawn = drawn or Drawn.alone(len(pre.others))
    found: dict[str, list[float]] = {}
    spreads: dict[str, list[float]] = {}
    gaps: dict[str, list[float]] = {}
    larger: dict[str, list[float]] = {}
    for half in random_halves(drawn, TRIALS if measures else 0, seed):
        if lopsided(half):
            continue
        before, after = pre.inside(half), post.inside(half)
        for name, column in (item for measure in measures for item in measure(before, after).items()):
            values, compared = column if isinstance(column, tuple) else (column, None)
            sides = _in_halves(values, half)
            own = [drawn.take(part & np.isfinite(values)) for part in (half, ~half)]
            if min(side.count for side in own) >= 2:
                gap = sides[0].mean() - sides[1].mean()
                found.setdefault(name, []).append(float(gap))
                larger.setdefault(name, []).append(larger_by(half))
                spread = np.mean([one.variance_of_mean(side) for one, side in zip(own, sides, strict=True)])
                spreads.setdefault(name, []).append(float(spread))
                if compared is not None:
                    one, other = _in_halves(compared, half)
                    gap = one.mean() - other.mean()
                gaps.setdefault(name, []).append(float(gap))
    size = {name: np.array(by, dtype=float) for name, by in larger.items()}
    equal = {name: of_equal_halves(np.array(found[name]), by, drawn) for name, by in size.items()}
    between = {name: of_equal_halves(np.array(gaps[name]), by, drawn) for name, by in size.items()}
    means = {name: (float(np.mean(equal[name] ** 2 / 2)), float(np.mean(spreads[name]))) for name in gaps}
    return {
        name: Effect(square / spread if spread > 0 and square > 0 else 1.0, between[name], drawn.worth)
        for name, (square, spread) in means.items()
    }


def _in_halves(column: Column, half: Bool[np.ndarray, " n"]) -> tuple[Column, Column]:
    known = np.isfinite(column)
    return column[half & known], column[~half & known]


def mean_score(
    values: Float64[np.ndarray, " n"],
    effect: Effect | None,
    *,
    kind: Kind = "share",
    chance: float | None = None,
    confidence: float = 0.95,
    drawn: Drawn | None = None,
    drawn_from: int | None = None,
) -> Score:
    """Mean with an interval for its expectation over galleries of as many images; `effect` is what their dependence
    does to it.

    Without an effect (too few images to halve) values count as independent, and the method says so. Of values of
    queries that are `drawn_from` more of them, fewer pairs share the gallery: what exceeds 1 shrinks with their number.
    Degrees of freedom count what was `drawn` by itself. All but differences keep the gaps of halves.
    """
    n, value = len(values), float(values.mean())
    drawn = drawn or Drawn.alone(n)
    if (untold := drawn.untold(value, n, chance, LEAST_FOR_GEOMETRY)) is not None:
        return untold
    factor = 1.0 if effect is None else effect.size
    if kind in ("precision", "difference") and factor > 1:
        factor = 1 + GROWTH * (factor - 1)
    if drawn_from is not None and drawn_from > n:
        factor = 1 + (factor - 1) * n / drawn_from
    name, interval = _INTERVALS[kind]
    draws = drawn.worth if effect is None else min(drawn.worth, effect.draws)
    low, high = interval(Values(values, factor, drawn, draws), confidence)
    cause = (
        "with the design effect of half galleries"
        if effect is not None
        else "that takes the gallery as fixed"
    )
    method = f"{100 * confidence:g} % {name} interval over {drawn.unit} {cause}"
    found = Score(value, min(low, value), max(high, value), n, chance, method)
    score = drawn.floored(found, LEAST_FOR_GEOMETRY)
    if effect is None or kind.startswith("difference") or not np.isfinite(score.low):
        return score
    return GalleryScore(
        **asdict(score), halving_gaps=_scaled(effect.gaps, drawn.variance_of_mean(values) * factor)
    )


def _scaled(gaps: Float64[np.ndarray, " t"], variance: float) -> tuple[float, ...]:
    """In units in which a quarter of their mean square is the variance: a half has fewer of each class, and its ranks
    end earlier."""
    own = float(np.square(gaps).mean()) / 4
    scale = (variance / own) ** 0.5 if own > 0 else 1.0
    return tuple(float(f"{gap * scale:.6g}") for gap in gaps)


@dataclass(frozen=True, eq=False)
class Values:
    """Values of images, and what their dependence does to the variance of the mean."""

    values: Float64[np.ndarray, " n"]
    effect: float
    drawn: Drawn
    draws: float
    """Independent draws, of those among which the effect was measured where these are fewer."""

    @property
    def variance(self) -> float:
        """Of the mean."""
        return self.drawn.variance_of_mean(self.values) * self.effect

    @property
    def trials(self) -> int:
        """Of a share that is 0 or 1."""
        return int(self.drawn.worth)

    @property
    def carried_by(self) -> float:
        """How many draws that pull evenly would make this spread: their number over the kurtosis, at most it less 1."""
        values, most = self.values, self.draws - 1
        if values.min() == values.max():
            return most
        pulls = values if self.drawn.independent else self.drawn.sums(values - values.mean())
        if np.ptp(pulls) <= ROUNDING * np.ptp(values):
            return most
        return float(np.clip(len(pulls) / stats.kurtosis(pulls, fisher=False), 1, most))


def _share(of: Values, confidence: float) -> tuple[float, float]:
    value = float(of.values.mean())
    return wilson(value, of.variance, of.trials, _quantile(confidence, of.draws - 1))


def _precision(of: Values, confidence: float) -> tuple[float, float]:
    quantile = _quantile(confidence, of.carried_by, together=True)
    return wilson(float(of.values.mean()), of.variance, of.trials, quantile)


def _positive(of: Values, confidence: float) -> tuple[float, float]:
    value = float(of.values.mean())
    if of.values.min() == of.values.max():
        return value, value
    quantile = _quantile(confidence, of.carried_by, together=True)
    spread = float(np.exp(quantile * of.variance**0.5 / value))
    return value / spread, value * spread


def _close_to_1(of: Values, confidence: float) -> tuple[float, float]:
    if of.values.min() == of.values.max():
        return _share(of, confidence)
    low, high = _positive(replace(of, values=1 - of.values), confidence)
    return max(0.0, 1 - high), 1 - low


def _difference(of: Values, confidence: float) -> tuple[float, float]:
    half = _quantile(confidence, of.carried_by, together=True) * of.variance**0.5
    return float(of.values.mean()) - half, float(of.values.mean()) + half


def _difference_of_hits(of: Values, confidence: float) -> tuple[float, float]:
    more = replace(of, values=np.concatenate([of.values, [-1, 1]]), drawn=of.drawn.and_alone(2))
    half, middle = _quantile(confidence, of.draws + 1) * more.variance**0.5, float(more.values.mean())
    return middle - half, middle + half


def _quantile(confidence: float, freedom: float, *, together: bool = False) -> float:
    freedom = 1 / (1 / freedom + 1 / FREEDOM) if together else min(freedom, FREEDOM)
    return float(stats.t.ppf(0.5 + confidence / 2, freedom))


_INTERVALS: dict[Kind, tuple[str, Callable[[Values, float], tuple[float, float]]]] = {
    "share": ("Wilson", _share),
    "precision": ("Wilson", _precision),
    "positive": ("t (logarithm)", _positive),
    "close to 1": ("t (logarithm of what lacks to 1)", _close_to_1),
    "difference": ("t", _difference),
    "difference of hits": ("t", _difference_of_hits),
}
