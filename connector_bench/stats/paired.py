"""Differences of two models on the same images: intervals, tests, and many of them at once.

A figure is a ratio of sums over clusters, `sum(numerator) / sum(denominator)`: a mean has counts below it, the share
lost its squared totals. Clusters are images, so that questions about one image stay together. All choices are seeded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from connector_bench.stats import jackknife
from connector_bench.stats.floors import (
    GROUPS,
    IMAGES,
    IMAGES_A_NEIGHBOUR,
    LEAST_IMAGES,
    LEAST_IN_A_GALLERY,
    too_few,
)
from connector_bench.stats.shares import paired_difference

EXCHANGES = 9999
CONFIDENCE = 0.95
LEVEL = 0.05
"""The largest adjusted p-value that counts as a difference, or as an association, wherever one is named."""
SEED = 0
ROUNDING = 1e-6
"""Figures that lie no further apart are the same: what isometries and invertible maps lose beyond is rounding."""
_BATCH_VALUES = 2**22

JACKKNIFE = "95 % jackknife t interval of the paired difference over {unit}"
FEW_ANSWERS = "95 % Newcombe interval over {unit}"
EXCHANGE = f"exchange of the two models within {{unit}}, {EXCHANGES:,} random ones"
HALVINGS = "95 % t interval from {count} halvings of the {unit}, each half a gallery of its own"


@dataclass(frozen=True, eq=False)
class Sums:
    """One figure of one model: what it is made of, by cluster."""

    numerator: Float[np.ndarray, " n"]
    denominator: Float[np.ndarray, " n"]

    @property
    def value(self) -> float:
        """The figure over all clusters."""
        return float(self.numerator.sum() / self.denominator.sum())


@dataclass(frozen=True)
class Difference:
    """`second - first` with its 95 % interval and the p-value of no difference (two-sided)."""

    value: float
    low: float
    high: float
    p: float
    interval_method: str
    test_method: str


def untold(first: float, second: float, why: str) -> Difference:
    """`second - first` with a sentence where interval and test would be."""
    return Difference(second - first, math.nan, math.nan, math.nan, why, why)


def difference(first: Sums, second: Sums, *, unit: str = IMAGES) -> Difference:
    """Paired difference of two figures over the same clusters.

    The interval is a jackknife over clusters. The p-value comes from exchanging the two models within clusters at
    random, which leaves the difference's distribution as it is where the models do not differ: (1 + exchanges with at
    least this difference) / (1 + exchanges). Below
    `floors.LEAST_IMAGES` clusters there is neither, and both methods say so.

    Raises:
        ValueError: other lengths, fewer than two clusters, or a denominator that sums to 0.
    """
    n = len(first.numerator)
    if {len(side) for sums in (first, second) for side in (sums.numerator, sums.denominator)} != {n} or n < 2:
        raise ValueError("a paired difference needs the same images on both sides, at least two of them")
    if not first.denominator.sum() or not second.denominator.sum():
        raise ValueError("a figure whose denominator is 0 has no value")
    value = second.value - first.value
    if n < LEAST_IMAGES:
        return untold(first.value, second.value, too_few(n, LEAST_IMAGES, unit))
    low, high, interval = _interval(first, second)
    methods = (method.format(unit=unit) for method in (interval, EXCHANGE))
    return Difference(value, low, high, _exchange_p(first, second, value), *methods)


def difference_interval(first: Sums, second: Sums) -> tuple[float, float]:
    """The interval of `second - first`; NaN below the floor.

    Of answers that are right or wrong, or less other answers to the same questions, where fewer than
    `floors.LEAST_IMAGES` clusters differ, it is that of `shares.paired_difference`: a jackknife takes two that hardly
    differ for the same.
    """
    return _interval(first, second)[:2] if len(first.numerator) >= LEAST_IMAGES else (math.nan, math.nan)


def _interval(first: Sums, second: Sums) -> tuple[float, float, str]:
    """Both ends, and how they were made."""
    if few_answers_differ(first, second):
        sizes = first.denominator.astype(int)
        differences = (second.numerator - first.numerator) / sizes
        score = paired_difference(np.repeat(differences, sizes), np.repeat(np.arange(len(sizes)), sizes))
        return score.low, score.high, FEW_ANSWERS
    value = second.value - first.value
    without = [jackknife.ratio_without_each(sums.numerator, sums.denominator) for sums in (first, second)]
    found = jackknife.estimate(value, without[1] - without[0], "sums")
    return *jackknife.interval(found, confidence=CONFIDENCE), JACKKNIFE


def few_answers_differ(first: Sums, second: Sums) -> bool:
    """Whether both count right answers to the same questions, and hardly differ.

    Or right answers less other right ones, such as those before a connector less those behind it (-1, 0 or 1 a
    question), where a question's difference is -1, 0 or 1 as well: that of two such figures with the same answers
    before is that of the answers behind.
    """
    counts = np.concatenate([first.numerator, second.numerator, first.denominator])
    return bool(
        np.array_equal(first.denominator, second.denominator)
        and (counts == np.round(counts)).all()
        and (first.denominator >= 1).all()
        and all(
            (np.abs(values) <= first.denominator).all()
            for values in (first.numerator, second.numerator, second.numerator - first.numerator)
        )
        and np.count_nonzero(first.numerator != second.numerator) < LEAST_IMAGES
    )


def halved_difference(
    first: float,
    second: float,
    first_gaps: Float[np.ndarray, " h"],
    second_gaps: Float[np.ndarray, " h"],
    *,
    images: int,
    k: int | None,
    groups: int | None = None,
) -> Difference:
    """Paired difference of figures whose images are each other's neighbours, such as k-NN overlap.

    Gaps are the figure in one half of the images less that in the other, over the same halvings for both models.
    Disjoint halves are independent galleries, so the squared difference of both models' gaps is twice the variance of
    the paired difference in half the images, and four times that in all of them. That holds where the k neighbours
    are few among the images; else, and below the floor, there is neither interval nor p-value. Where images were drawn
    together, halves are of whole groups, worth so many draws, which have their floor too.

    Raises:
        ValueError: other lengths, or no halving.
    """
    if len(first_gaps) != len(second_gaps) or not len(first_gaps):
        raise ValueError(f"needs the same halvings, got {len(first_gaps)} and {len(second_gaps)}")
    count, least = len(first_gaps), max(LEAST_IN_A_GALLERY, IMAGES_A_NEIGHBOUR * (k or 1))
    if images < least:
        return untold(first, second, too_few(images, least))
    if groups is not None and groups < LEAST_IN_A_GALLERY:
        return untold(first, second, too_few(groups, LEAST_IN_A_GALLERY, GROUPS))
    freedom = count if groups is None else min(count, groups - 1)
    error = float(np.sqrt(np.square(np.asarray(second_gaps) - np.asarray(first_gaps)).mean() / 4))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * error
    value = second - first
    p = float(2 * stats.t.sf(abs(value) / error, freedom)) if error > 0 else float(value == 0)
    unit = IMAGES if groups is None else f"{GROUPS}, worth {groups:,} draws"
    method = HALVINGS.format(count=count, unit=unit)
    return Difference(value, value - half, value + half, p, method, method.replace("interval", "test"))


def false_discovery_rate(p: Sequence[float]) -> list[float]:
    """p-values adjusted for their number by Benjamini and Hochberg (scipy); NaN stays NaN and does not count."""
    values = np.asarray(p, dtype=np.float64)
    known = np.isfinite(values)
    adjusted = np.full(len(values), np.nan)
    if known.any():
        adjusted[known] = stats.false_discovery_control(values[known], method="bh")
    return adjusted.tolist()


def _exchange_p(first: Sums, second: Sums, value: float) -> float:
    tops = np.stack([first.numerator, second.numerator], axis=1)
    bottoms = np.stack([first.denominator, second.denominator], axis=1)
    at_least = 0
    for swapped in _swaps(len(tops)):
        kept = 1 - swapped
        figures = [
            (kept @ tops[:, side] + swapped @ tops[:, 1 - side])
            / (kept @ bottoms[:, side] + swapped @ bottoms[:, 1 - side])
            for side in (0, 1)
        ]
        at_least += int((np.abs(figures[1] - figures[0]) >= abs(value) * (1 - 1e-9)).sum())
    return (1 + at_least) / (1 + EXCHANGES)


def _swaps(n: int) -> Iterator[Float[np.ndarray, "b n"]]:
    rng = np.random.default_rng(SEED)
    for size in _batches(EXCHANGES, n):
        yield rng.integers(0, 2, size=(size, n)).astype(np.float64)


def _batches(total: int, n: int) -> Iterator[int]:
    batch = max(1, _BATCH_VALUES // n)
    yield from (min(batch, total - start) for start in range(0, total, batch))
