"""Images that were drawn together, such as views of one object: halved, left out and counted as one.

What other images would give is asked of other *objects* then. Views of one object in both halves would make halves more
alike than two galleries of different objects are, and intervals too narrow.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from connector_bench.preservation.options import not_a_label
from connector_bench.stats.floors import floored, too_few_groups
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
    def worth(self) -> float:
        """Groups of like size that tell as much: fewer than there are where some are much larger than others (Kish,
        Survey Sampling (1965), section 11.7)."""
        return float(len(self) ** 2 / np.square(np.bincount(self.group)).sum()) if len(self) else 0.0

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

    def variance_of_mean(self, values: Float[np.ndarray, " n"]) -> float:
        """Of the mean of independent values, or of those that are alike inside a group; two groups at least."""
        if self.independent:
            return float(values.var(ddof=1)) / len(values)
        pulls = self.sums(values - values.mean()) / len(values)
        return float(np.square(pulls).sum()) * self.count / (self.count - 1)

    def and_alone(self, more: int) -> Drawn:
        """With so many more, each by itself."""
        return Drawn(np.append(self.group, self.count + np.arange(more)), self.count + more, self.by)

    def without_each(self, without: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " groups"]:
        """A figure without each group, from that without each image: to first order, what its images pull together."""
        if self.independent:
            return without
        n, mean = len(self), without.mean()
        scale = (n - 1) * self.count / (n * (self.count - 1)) if self.count > 1 else 1.0
        return mean + scale * self.sums(without - mean)

    def noted(self) -> dict[str, Any]:
        """For the record; empty where images are independent. Halves are the same where the fingerprint is."""
        if self.independent:
            return {}
        fingerprint = hashlib.sha256(self.group.astype("<i8").tobytes()).hexdigest()
        found = {"by": self.by, "groups": self.count, "most": self.most, "worth": round(self.worth, 2)}
        return {"drawn_together": found | {"sha256": fingerprint}}

    def untold(self, value: float, n: int, chance: float | None, least: int) -> Score | None:
        """The figure with a sentence for an interval, where groups are fewer than one needs; None where they are not,
        and of independent images, whose floor is that of their number."""
        why = None if self.independent else too_few_groups(self.count, self.most, self.worth, least)
        return None if why is None else Score(value, math.nan, math.nan, n, chance, why)

    def floored(self, score: Score, least: int) -> Score:
        """The score, its interval gone where there are fewer independent draws than an interval needs."""
        if self.independent:
            return floored(score, least)
        return self.untold(score.value, score.n, score.chance, least) or score


def drawn_by(
    column: str | None, labels: Mapping[str, Sequence[object]], n: int
) -> tuple[Drawn, tuple[str, ...]]:
    """Images of one label in a column together, and a warning where some have none; without a column each by itself.

    Raises:
        ValueError: a column that is none of the labels'.
    """
    if column is None:
        return Drawn.alone(n), ()
    if column not in labels:
        raise ValueError(not_a_label(column, labels))
    alone = sum(label is None for label in labels[column])
    warning = f"{alone} of {n} images have no {column}: each of them counts as drawn by itself"
    return Drawn.together(labels[column], column), (warning,) if alone else ()


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


def lopsided(half: Bool[np.ndarray, " n"]) -> bool:
    """Whether one half has less than a quarter of the images: no gallery like the other."""
    return bool(abs(larger_by(half)) > len(half) / 2)


def larger_by(half: Bool[np.ndarray, " n"]) -> int:
    """Images that a half has more than the other."""
    return 2 * int(np.count_nonzero(half)) - len(half)


def sample_rows(drawn: Drawn, seed: int, most: int) -> Int[np.ndarray, " m"]:
    """At most so many images in rising order, whole groups of them; of two groups at least."""
    order = np.random.default_rng(seed).permutation(drawn.count)
    sizes = np.bincount(drawn.group, minlength=drawn.count)[order].cumsum()
    taken = max(int(np.searchsorted(sizes, most, side="right")), 2)
    chosen = np.zeros(drawn.count, dtype=bool)
    chosen[order[:taken]] = True
    return np.flatnonzero(chosen[drawn.group])[:most]
