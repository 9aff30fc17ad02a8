"""Images that were drawn together, such as views of one object: halved, left out and counted as one.

What other images would give is asked of other *objects* then. Views of one object in both halves would make halves more
alike than two galleries of different objects are, and intervals too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from connector_bench.stats.floors import GROUPS, floored, too_few
from connector_bench.stats.intervals import Score


@dataclass(frozen=True, eq=False)
class Drawn:
    """The draw that each image came with."""

    group: Int[np.ndarray, " n"]
    """Of every image, numbered in the order of their first images."""
    count: int
    by: str | None = None
    """The column that tells them."""

    @classmethod
    def alone(cls, n: int) -> Drawn:
        """Every image by itself."""
        return cls(np.arange(n), n)

    @classmethod
    def together(cls, names: Sequence[object], by: str | None = None) -> Drawn:
        """Images of one name together, those without one (None) each by itself."""
        numbers: dict[object, int] = {}
        group = [
            numbers.setdefault((row,) if name is None else (0, str(name)), len(numbers))
            for row, name in enumerate(names)
        ]
        return cls(np.array(group, dtype=np.intp), len(numbers), by)

    def __len__(self) -> int:
        return len(self.group)

    @property
    def independent(self) -> bool:
        """Whether no two images were drawn together."""
        return self.count == len(self.group)

    @property
    def most(self) -> int:
        """Images that were drawn together, at most."""
        return 1 if self.independent else int(np.bincount(self.group).max())

    @property
    def unit(self) -> str:
        """What an interval is over."""
        if self.independent:
            return "images"
        return f"{self.count:,} groups of images" + (f" (by {self.by})" if self.by else "")

    def take(self, rows: Sequence[int] | np.ndarray) -> Drawn:
        """Those of some images, by number or by a mask, in this order."""
        kept = self.group[np.asarray(rows)]
        _, first, place = np.unique(kept, return_index=True, return_inverse=True)
        order = np.empty(len(first), dtype=np.intp)
        order[np.argsort(first)] = np.arange(len(first))
        return Drawn(order[place], len(first), self.by)

    def sums(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " groups"]:
        """Totals of each group; the values themselves where images are independent."""
        return values if self.independent else np.bincount(self.group, values, self.count)

    def without_each(self, without: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " groups"]:
        """A figure without each group, from that without each image: to first order, what its images pull together."""
        if self.independent:
            return without
        n, mean = len(self), without.mean()
        scale = (n - 1) * self.count / (n * (self.count - 1)) if self.count > 1 else 1.0
        return mean + scale * self.sums(without - mean)

    def noted(self) -> dict[str, Any]:
        """For the record; empty where images are independent."""
        if self.independent:
            return {}
        return {"drawn_together": {"by": self.by, "groups": self.count, "most": self.most}}

    def floored(self, score: Score, least: int) -> Score:
        """The score, its interval gone where there are fewer independent draws than an interval needs."""
        if self.independent:
            return floored(score, least)
        if self.count >= least:
            return score
        return replace(score, low=math.nan, high=math.nan, method=too_few(self.count, least, GROUPS))


def random_halves(drawn: Drawn, trials: int, seed: int) -> Iterator[Bool[np.ndarray, " n"]]:
    """Masks of the images of half the groups; they depend on groups and numbers alone."""
    rng = np.random.default_rng(seed)
    for _ in range(trials):
        chosen = np.zeros(drawn.count, dtype=bool)
        chosen[rng.choice(drawn.count, drawn.count // 2, replace=False)] = True
        yield chosen[drawn.group]


def of_equal_halves(
    gaps: Float64[np.ndarray, "t ..."], larger: Float64[np.ndarray, " t"], drawn: Drawn
) -> Float64[np.ndarray, "t ..."]:
    """Gaps between halves as if these had as many images: less what goes in proportion to how much `larger` one is.

    A smaller gallery has nearer ranks and more neighbours by chance, which is no difference between draws. Halves of
    independent images differ by one at most.
    """
    if drawn.independent or not larger.any():
        return gaps
    return np.asarray(gaps - np.multiply.outer(larger, larger @ gaps / (larger @ larger)))


def larger_by(half: Bool[np.ndarray, " n"]) -> int:
    """Images that a half has more than the other."""
    return 2 * int(np.count_nonzero(half)) - len(half)


def sample_rows(drawn: Drawn, seed: int, most: int) -> Int[np.ndarray, " m"]:
    """At most so many images in rising order, whole groups of them; two groups at least."""
    order = np.random.default_rng(seed).permutation(drawn.count)
    sizes = np.bincount(drawn.group, minlength=drawn.count)[order].cumsum()
    taken = max(int(np.searchsorted(sizes, most, side="right")), 2)
    chosen = np.zeros(drawn.count, dtype=bool)
    chosen[order[:taken]] = True
    return np.flatnonzero(chosen[drawn.group])
