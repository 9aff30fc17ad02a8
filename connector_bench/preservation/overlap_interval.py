"""Interval of a mean overlap when the images are a sample: each is a query *and* a neighbour of others.

Resampling images as queries alone keeps the gallery fixed, and is too narrow as soon as k is a sizeable share of N:
on independent sides with N = 1000 and k = 100 it covers chance in 65 % of simulations. The delete-one jackknife takes
both roles into account and is up to four times too large a variance, since it counts a part that depends on q images q
times (Efron and Stein, Annals of Statistics 9 (1981) 586).

Two disjoint halves of a sample are independent galleries, so half their squared difference is unbiased for the
variance of a mean overlap over galleries of n / 2 images, whatever the shape of the statistic. A jackknife within the
halves claims to estimate the same. The ratio of the two, over many random halvings, corrects that of the whole set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy import stats

from connector_bench.preservation.drawn_together import Drawn, larger_by, of_equal_halves, random_halves
from connector_bench.preservation.neighbours.ranking import places_in_half
from connector_bench.preservation.neighbours.search import threads
from connector_bench.preservation.overlap import CommonNeighbours, chance, place_type
from connector_bench.stats import jackknife
from connector_bench.stats.floors import LEAST_IN_A_GALLERY
from connector_bench.stats.intervals import Score, wilson

MIN_HALVINGS, MAX_HALVINGS = 30, 100
_ELEMENTS = 2**28
_JACKKNIFED = 4
_MIN_CORRECTION = 0.25
_CORRECTION_TOGETHER = (_MIN_CORRECTION**2, 1 / _MIN_CORRECTION)
"""Of images that were drawn together: the sum of their pulls counts a neighbour inside the group twice, and is what
they pull together to first order alone."""
FREEDOM = 60
"""Degrees of freedom of the correction, beside those of the jackknife."""


def depth(k: int, n: int, together: int = 1) -> int:
    """Columns of neighbour lists that hold `k + 1` of any half of the gallery, at six standard deviations; where up to
    so many images are halved `together`, and may all stand side by side."""
    wanted = k + 1
    return min(n - 1, int(np.ceil((3 * together**0.5 + np.sqrt(9 * together + 2 * wanted)) ** 2)))


def number_of_halvings(n: int, columns: int) -> int:
    """Random halvings whose differences are averaged: 100, fewer for very long lists."""
    return int(np.clip(_ELEMENTS // (n * columns), MIN_HALVINGS, MAX_HALVINGS))


@dataclass(frozen=True, eq=False)
class Halvings:
    """Random halves of the images, and how far into the lists before the connector each half's k nearest reach.

    They depend on the number of images, the lists and the seed alone: the connector and its controls share them.
    """

    halves: Bool[np.ndarray, "t n"]
    ks: tuple[int, ...]
    """Those that a half can hold."""
    reach: Int[np.ndarray, "t n ks"]
    """Place of every image's k-th neighbour from its own half."""
    drawn: Drawn

    @classmethod
    def of(
        cls,
        pre_neighbours: Int[np.ndarray, "n c"],
        ks: Sequence[int],
        *,
        drawn: Drawn | None = None,
        seed: int = 0,
    ) -> Halvings:
        """Of lists with `depth(max(ks), n, drawn.most)` columns. Raises ValueError for fewer."""
        n, columns = pre_neighbours.shape
        drawn = drawn or Drawn.alone(n)
        halves = np.stack(list(random_halves(drawn, number_of_halvings(n, columns), seed)))
        members = np.count_nonzero(halves, axis=1)
        smallest = int(np.minimum(members, n - members).min())
        held = tuple(k for k in ks if k + 1 < smallest)
        if held and columns < (wanted := depth(max(held), n, drawn.most)):
            raise ValueError(
                f"halves at k = {max(held)} need {wanted} neighbours of every image, got {columns}"
            )
        reach = np.zeros((len(halves) if held else 0, n, len(held)), dtype=place_type(columns))
        for trial, half in enumerate(halves[: len(reach)]):
            places = places_in_half(half[pre_neighbours] == half[:, None], np.array(held))
            reach[trial] = np.minimum(places, columns - 1)
        return cls(halves, held, reach, drawn)

    def gaps(self, common: CommonNeighbours) -> Float64[np.ndarray, "t ks"]:
        """Mean overlap in one half less that in the other, each half its own gallery.

        Gaps of two connectors on the same images belong together pair by pair: a quarter of the mean square of their
        difference is the variance of the connectors' paired difference, the gallery's part in it included.
        """
        work = zip(self.halves, self.reach, strict=False)
        with threads() as (pool, _):
            gaps = np.array(list(pool.map(lambda trial: self._gap(common, *trial), work)))
        larger = np.array([larger_by(half) for half in self.halves[: len(gaps)]], dtype=float)
        return of_equal_halves(gaps, larger, self.drawn)

    def _gap(
        self, common: CommonNeighbours, half: Bool[np.ndarray, " n"], reach: Int[np.ndarray, "n ks"]
    ) -> Float64[np.ndarray, " ks"]:
        mine = half[common.post] == half[:, None]
        places = np.arange(mine.shape[1], dtype=common.in_pre.dtype)
        own_reach = places_in_half(mine, np.array(self.ks)).astype(places.dtype)
        size = np.count_nonzero(half)
        gaps = []
        for last_pre, last_post in zip(reach.T, own_reach.T, strict=True):
            end = int(last_post.max()) + 1
            met = mine[:, :end] & (places[:end] <= last_post[:, None])
            met &= common.in_pre[:, :end] <= last_pre[:, None]
            first = np.count_nonzero(met & half[:, None])
            gaps.append(first / size - (np.count_nonzero(met) - first) / (len(half) - size))
        return np.array(gaps) / np.asarray(self.ks)

    def jackknife_correction(
        self, common: CommonNeighbours, gaps: Float64[np.ndarray, "t ks"]
    ) -> dict[int, float]:
        """True over jackknife variance of the mean overlap in half galleries, for every k that a half can hold.

        At most 1, since the jackknife's expectation is never too small, and at least 1/4, its value where common
        neighbours are rare coincidences: each depends on the query, on the neighbour, and as much again on the two
        images that would make room for other coincidences.
        """
        if not self.ks:
            return {}
        columns = max(self.ks) + 1

        def without_each(members: Bool[np.ndarray, " n"]) -> list[Float64[np.ndarray, " m"]]:
            alone = common.among(members, columns)
            return [overlap_without_each(alone, k) for k in self.ks]

        return self.corrections(gaps, without_each)

    def corrections(
        self,
        gaps: Float64[np.ndarray, "t ks"],
        without_each: Callable[[Bool[np.ndarray, " n"]], Sequence[Float64[np.ndarray, " m"]]],
    ) -> dict[int, float]:
        """The same of any figure of a gallery: its `gaps`, and for the members of a half the figure of each k without
        each of them."""
        if not self.ks:
            return {}
        claimed = [
            [variance_without(drawn.without_each(values)) for values in without_each(members)]
            for half in self.halves[:_JACKKNIFED]
            for members in (half, ~half)
            for drawn in (self.drawn.take(members),)
        ]
        true, jackknife = np.square(gaps).mean(axis=0) / 2, np.mean(claimed, axis=0)
        share = np.divide(true, jackknife, out=np.ones(len(self.ks)), where=jackknife > 0)
        allowed = (_MIN_CORRECTION, 1.0) if self.drawn.independent else _CORRECTION_TOGETHER
        return dict(zip(self.ks, np.clip(share, *allowed).tolist(), strict=True))


def scores_of_overlap(
    common: CommonNeighbours,
    ks: Sequence[int],
    corrections: Mapping[int, float],
    *,
    drawn: Drawn | None = None,
    confidence: float = 0.95,
) -> dict[int, Score]:
    """Mean overlap for each k with an interval for its expectation over galleries of as many images.

    `corrections` are those of the jackknife's variance, from `Halvings.jackknife_correction`.

    The interval is Wilson's, as for a share among as many independent trials as would have this variance: it stays
    inside 0..1, and at 0 or 1 it is that of n trials.

    Raises:
        ValueError: lists of fewer than `k + 1` columns.
    """
    n = len(common.pre)
    drawn = drawn or Drawn.alone(n)
    scores = {}
    for k in ks:
        if k == n - 1:
            scores[k] = Score(1.0, 1.0, 1.0, n, 1.0, "exact: all other images are neighbours")
            continue
        mean = float(common.overlap(k).mean())
        if (untold := drawn.untold(mean, n, chance(k, n), LEAST_IN_A_GALLERY)) is not None:
            scores[k] = untold
            continue
        without = drawn.without_each(overlap_without_each(common, k))
        found = jackknife.estimate(mean, without, "sums")
        value, variance = found.value, found.error**2 * corrections.get(k, 1.0)
        quantile = float(stats.t.ppf(0.5 + confidence / 2, 1 / (1 / found.freedom + 1 / FREEDOM)))
        corrected = "corrected in half galleries" if k in corrections else "too wide: no half holds k"
        method = f"{100 * confidence:g} % Wilson interval, delete-one jackknife over {drawn.unit} {corrected}"
        low, high = wilson(value, variance, int(drawn.worth), quantile)
        scores[k] = drawn.floored(Score(value, low, high, n, chance(k, n), method), LEAST_IN_A_GALLERY)
    return scores


def corrected_estimate(
    common: CommonNeighbours, k: int, corrections: Mapping[int, float]
) -> jackknife.Estimate:
    """Mean overlap with its standard error over galleries of as many images, as `scores_of_overlap` has it."""
    found = jackknife.estimate(float(common.overlap(k).mean()), overlap_without_each(common, k), "sums")
    return replace(found, error=found.error * corrections.get(k, 1.0) ** 0.5)


def overlap_without_each(common: CommonNeighbours, k: int) -> Float64[np.ndarray, " n"]:
    """Mean overlap of the other `n - 1` images when image `j` is gone from queries and gallery, for every `j`.

    Exact and with no further search: a list that loses one of its first `k` neighbours takes in its next one.

    Raises:
        ValueError: lists of fewer than `k + 1` columns.
    """
    n, columns = common.pre.shape
    if columns < k + 1:
        raise ValueError(
            f"leaving images out at k = {k} needs {k + 1} neighbours of every image, got {columns}"
        )
    pre_kept, post_kept = common.in_post[:, :k] < k, common.in_pre[:, :k] < k
    next_pre, next_post = common.in_post[:, k : k + 1], common.in_pre[:, k : k + 1]
    gains_pre, gains_post = (next_pre < k).astype(int), (next_post < k).astype(int)
    both_gain = gains_pre + gains_post + (next_pre == k)
    change = np.bincount(
        common.pre[:, :k].ravel(), np.where(pre_kept, both_gain - 1, gains_pre).ravel(), minlength=n
    )
    change += np.bincount(common.post[:, :k].ravel(), np.where(post_kept, 0, gains_post).ravel(), minlength=n)
    own = pre_kept.sum(axis=1)
    return (own.sum() - own + change) / (k * (n - 1))


def variance_without(without: Float64[np.ndarray, " n"]) -> float:
    """Delete-one jackknife estimate of a figure's variance, from the figure without each image."""
    n = len(without)
    return float((n - 1) / n * np.square(without - without.mean()).sum())
