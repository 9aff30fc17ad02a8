"""Whether neighbourhoods move towards an independent space: agreement with it behind the connector less that before it.

`gain_k = adj(overlap(post, reference)) - adj(overlap(pre, reference))`, both with chance taken off, which is the same
for both: `(overlap(post) - overlap(pre)) / (1 - c)`. Above 0 the connector brings images together that are near in the
reference, however few of the encoder's own neighbours it keeps.

The interval is that of an overlap, of the paired difference: a delete-one jackknife over images, whose variance is
corrected by that of disjoint halves (see `overlap_interval`). Efron and Stein's inequality holds for every symmetric
figure, so the jackknife of a difference is too wide in expectation as well, never too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy import stats

from connector_bench.preservation.drawn_together import Drawn
from connector_bench.preservation.overlap import CommonNeighbours, chance
from connector_bench.preservation.overlap_interval import FREEDOM, Halvings, overlap_without_each
from connector_bench.preservation.searched_gallery import Columns, Scores
from connector_bench.stats import jackknife
from connector_bench.stats.floors import LEAST_IN_A_GALLERY
from connector_bench.stats.intervals import Score, plain

Lists = Int[np.ndarray, "n c"]


@dataclass(frozen=True, eq=False)
class AgreementWith:
    """The neighbours of some images in a reference, and halves of the images by them."""

    lists: tuple[Lists, ...]
    """One for each order of ties."""
    ks: tuple[int, ...]
    halvings: Halvings

    @classmethod
    def of(
        cls, lists: tuple[Lists, ...], ks: Sequence[int], *, seed: int, drawn: Drawn | None = None
    ) -> AgreementWith:
        """Of lists with `depth(max(ks), n, drawn.most)` columns."""
        return cls(lists, tuple(ks), Halvings.of(lists[0], ks, drawn=drawn, seed=seed))

    def side(self, lists: Lists) -> AgreeingSide:
        """One side of the connector held against it, by lists of as many columns."""
        common = tuple(CommonNeighbours.of(own.astype(lists.dtype), lists) for own in self.lists)
        return AgreeingSide(common, self.halvings.gaps(common[0]))

    def gains(self, pre: AgreeingSide, post: AgreeingSide) -> tuple[Columns, Scores]:
        """`gain_<k>` by image and over all, and `agreement_pre_<k>` and `agreement_post_<k>` over all."""
        columns: Columns = {}
        scores: Scores = {}
        gaps = post.gaps - pre.gaps
        sides = {"pre": self._inside(pre), "post": self._inside(post)}
        corrections = self.halvings.corrections(
            gaps,
            lambda members: [
                a - b for a, b in zip(sides["post"](members), sides["pre"](members), strict=True)
            ],
        )
        alone = {
            name: self.halvings.corrections(side.gaps, sides[name])
            for name, side in (("pre", pre), ("post", post))
        }
        halves = dict(zip(self.halvings.ks, gaps.T, strict=True))
        for k in self.ks:
            n = len(self.lists[0])
            room = 1 - chance(k, n)
            before, after = pre.overlap(k), post.overlap(k)
            without = _without_each(post.common, k) - _without_each(pre.common, k)
            columns[f"gain_{k}"] = (after - before) / room
            drawn = self.halvings.drawn
            found = _score(columns[f"gain_{k}"], without / room, corrections.get(k), drawn)
            scores[f"gain_{k}"] = plain(found)
            if k in halves:
                scores[f"gain_{k}"]["halving_gaps"] = [round(float(gap / room), 6) for gap in halves[k]]
            for side, values, own in (("pre", before, pre), ("post", after, post)):
                adjusted = (values - chance(k, n)) / room
                score = _score(adjusted, _without_each(own.common, k) / room, alone[side].get(k), drawn)
                scores[f"agreement_{side}_{k}"] = plain(score)
        return columns, scores

    def _inside(
        self, side: AgreeingSide
    ) -> Callable[[Bool[np.ndarray, " n"]], list[Float64[np.ndarray, " m"]]]:
        """What gives the overlap without each member of a half, for every k that a half can hold."""
        known: dict[bytes, list[Float64[np.ndarray, " m"]]] = {}

        def without_each(members: Bool[np.ndarray, " n"]) -> list[Float64[np.ndarray, " m"]]:
            key = members.tobytes()
            if key not in known:
                inside = side.common[0].among(members, max(self.halvings.ks) + 1)
                known[key] = [overlap_without_each(inside, k) for k in self.halvings.ks]
            return known[key]

        return without_each


@dataclass(frozen=True, eq=False)
class AgreeingSide:
    """What one side's lists have in common with the reference's."""

    common: tuple[CommonNeighbours, ...]
    """One for each order of ties; the reference stands first in each."""
    gaps: Float64[np.ndarray, "t ks"]
    """Overlap in one half less that in the other, by the first order."""

    def overlap(self, k: int) -> Float64[np.ndarray, " n"]:
        """Share of every image's `k` nearest in the reference that are so on this side."""
        return np.mean([one.overlap(k) for one in self.common], axis=0)


def _without_each(common: Sequence[CommonNeighbours], k: int) -> Float64[np.ndarray, " n"]:
    return np.asarray(np.mean([overlap_without_each(one, k) for one in common], axis=0))


def _score(
    values: Float[np.ndarray, " n"],
    without: Float64[np.ndarray, " n"],
    correction: float | None,
    drawn: Drawn,
) -> Score:
    value, n = float(values.mean()), len(values)
    if (untold := drawn.untold(value, n, 0.0, LEAST_IN_A_GALLERY)) is not None:
        return untold
    found = jackknife.estimate(value, drawn.without_each(without), "sums")
    error = found.error * (1.0 if correction is None else correction) ** 0.5
    freedom = 1 / (1 / found.freedom + 1 / FREEDOM)
    reach = float(stats.t.ppf(0.975, freedom)) * error
    corrected = "too wide: no half holds k" if correction is None else "corrected in half galleries"
    method = f"95 % t interval, delete-one jackknife over {drawn.unit} {corrected}"
    return drawn.floored(Score(value, value - reach, value + reach, n, 0.0, method), LEAST_IN_A_GALLERY)


def gains_of_versions(
    agreement: AgreementWith, pre: AgreeingSide, versions: Sequence[Lists]
) -> tuple[Columns, Scores]:
    """Gains of one control, averaged over its versions (seeds); the interval spans those of all versions."""
    each = [agreement.gains(pre, agreement.side(lists)) for lists in versions]
    columns: Columns = {}
    scores: Scores = {}
    for name in each[0][0] if each else ():
        columns[name] = np.mean([found[name] for found, _ in each], axis=0)
        scores[name] = _spanned([found[name] for _, found in each])
    return columns, scores


def _spanned(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values = [score["value"] for score in scores]
    known = all(score["low"] is not None for score in scores)
    ends: dict[str, float | None] = {"low": None, "high": None}
    if known:
        ends = {"low": min(s["low"] for s in scores), "high": max(s["high"] for s in scores)}
    found = {key: value for key, value in scores[0].items() if key != "halving_gaps"}
    found |= ends | {"value": float(np.mean(values))}
    if len(values) > 1:
        found |= {"method": f"{scores[0]['method']}; span over {len(values)} seeds", "seeds": values}
    return found
