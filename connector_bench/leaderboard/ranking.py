"""Ranks with ties: models share a place where the interval of their paired difference covers 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from connector_bench.leaderboard.schema import Figure
from connector_bench.leaderboard.table import Rank

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0
_BATCH_VALUES = 2**22


@dataclass(frozen=True, eq=False)
class Candidate:
    """A competitor in one ranked column, with what its difference to another can be paired by, if anything."""

    figure: Figure
    halvings: Float[np.ndarray, " halvings"] | None = None
    """One half of the images less the other, for halvings that all candidates share."""
    numerator: Float[np.ndarray, " n"] | None = None
    denominator: Float[np.ndarray, " n"] | None = None
    """The figure is a ratio of sums of these over images, in one order for all candidates."""


@dataclass(frozen=True, eq=False)
class _Resampled:
    values: Float[np.ndarray, " resamples"]
    n: int


def ranks(candidates: Mapping[str, Candidate], *, higher_is_better: bool) -> dict[str, Rank]:
    """Place of each candidate, best first.

    A group begins at its best model and takes in those that follow while the 95 % interval of the difference to
    that model covers 0. The difference is paired over halvings (figures of neighbours, where an image also counts as
    a neighbour of others) or over resampled images (ratios of sums). Where one side has neither, the two recorded
    intervals decide: models share a place where these overlap, which tells fewer apart.
    """
    sign = -1 if higher_is_better else 1
    order = sorted(candidates, key=lambda name: (sign * candidates[name].figure.value, name))
    resampled = _resampled(candidates)
    places: dict[str, tuple[int, bool]] = {}
    leader = None
    for place, name in enumerate(order, start=1):
        if leader is None:
            leader, places[name] = name, (place, True)
            continue
        gap = _halved(candidates[leader], candidates[name]) or _paired(resampled, leader, name)
        low, high = gap or _apart(candidates[leader].figure, candidates[name].figure)
        if low <= 0 <= high:
            places[name] = places[leader][0], gap is not None
        else:
            leader, places[name] = name, (place, gap is not None)
    sizes = {place: [p for p, _ in places.values()].count(place) for place, _ in places.values()}
    return {name: Rank(place, sizes[place], paired) for name, (place, paired) in places.items()}


def interval(figure: Figure) -> tuple[float, float]:
    """The recorded interval; else two standard errors around the value; else the value alone."""
    if figure.low is not None and figure.high is not None:
        return figure.low, figure.high
    half = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) * (figure.stderr or 0.0)
    return figure.value - half, figure.value + half


def _halved(first: Candidate, second: Candidate) -> tuple[float, float] | None:
    """Interval of a difference of figures whose images are each other's neighbours.

    Disjoint halves are independent galleries, so the squared difference of both models' gaps between halves is twice
    the variance of the paired difference in half the images, and four times that in all of them.
    """
    if first.halvings is None or second.halvings is None:
        return None
    if len(first.halvings) != len(second.halvings):
        return None
    gaps = first.halvings - second.halvings
    spread = np.sqrt(np.square(gaps).mean() / 4) * stats.t.ppf(0.5 + CONFIDENCE / 2, len(gaps))
    difference = first.figure.value - second.figure.value
    return float(difference - spread), float(difference + spread)


def _paired(resampled: Mapping[str, _Resampled], first: str, second: str) -> tuple[float, float] | None:
    """Percentile bootstrap of the difference, expanded to a t interval's width as `intervals.bootstrap` does."""
    if first not in resampled or second not in resampled:
        return None
    statistic, n = resampled[first].values - resampled[second].values, resampled[first].n
    tail = float(stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf((1 - CONFIDENCE) / 2, n - 1)))
    low, high = np.quantile(statistic, [tail, 1 - tail])
    return float(low), float(high)


def _apart(first: Figure, second: Figure) -> tuple[float, float]:
    """Covers 0 where the recorded intervals overlap."""
    (low, high), (other_low, other_high) = interval(first), interval(second)
    return low - other_high, high - other_low


def _resampled(candidates: Mapping[str, Candidate]) -> dict[str, _Resampled]:
    """The statistic of every candidate with sums, on the same resampled images, so that no order matters."""
    able = {
        name: (np.asarray(candidate.numerator, float), np.asarray(candidate.denominator, float))
        for name, candidate in candidates.items()
        if candidate.numerator is not None and candidate.denominator is not None
    }
    lengths = {len(top) for top, _ in able.values()}
    if len(lengths) != 1 or (n := lengths.pop()) < 2:
        return {}
    top, bottom = (np.stack(side, axis=1) for side in zip(*able.values(), strict=True))
    values = np.concatenate([(counts @ top) / (counts @ bottom) for counts in _draws(n)])
    return {name: _Resampled(values[:, column], n) for column, name in enumerate(able)}


def _draws(n: int) -> Iterator[Float[np.ndarray, "b n"]]:
    """How often each image is drawn, in batches of resamples."""
    rng = np.random.default_rng(SEED)
    batch = max(1, _BATCH_VALUES // n)
    for start in range(0, RESAMPLES, batch):
        size = min(batch, RESAMPLES - start)
        yield rng.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float64)
