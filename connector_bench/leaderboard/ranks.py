"""Ranks with ties: models share a place where the interval of their paired difference covers 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from connector_bench.leaderboard.schema import Figure
from connector_bench.leaderboard.table import Rank
from connector_bench.stats.paired import (
    CONFIDENCE,
    ROUNDING,
    Sums,
    halved_difference,
    percentile_interval,
    resampled_figures,
)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A competitor in one ranked column, with what its difference to another can be paired by, if anything."""

    figure: Figure
    halvings: Float[np.ndarray, " halvings"] | None = None
    """One half of the images less the other, for halvings that all candidates share."""
    sums: Sums | None = None
    """What the figure is made of, image by image in one order for all candidates."""


def ranks(candidates: Mapping[str, Candidate], *, higher_is_better: bool) -> dict[str, Rank]:
    """Place of each candidate, best first.

    A group begins at its best model and takes in those that follow while the 95 % interval of the difference to
    that model covers 0, or the difference is rounding. The difference is paired over halvings (figures of
    neighbours, where an image also counts as a neighbour of others) or over resampled images (ratios of sums).
    Where one side has neither, the two recorded intervals decide: models share a place where these overlap, which
    tells fewer apart.
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
        best, figure = candidates[leader].figure, candidates[name].figure
        low, high = gap or _apart(best, figure)
        if low <= 0 <= high or abs(figure.value - best.value) <= ROUNDING:
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
    if first.halvings is None or second.halvings is None or len(first.halvings) != len(second.halvings):
        return None
    found = halved_difference(first.figure.value, second.figure.value, first.halvings, second.halvings)
    return found.low, found.high


def _resampled(candidates: Mapping[str, Candidate]) -> dict[str, tuple[np.ndarray, int]]:
    """The figure of every candidate with sums on the same resampled images, so that no order matters; and how many."""
    able = {name: candidate.sums for name, candidate in candidates.items() if candidate.sums is not None}
    lengths = {len(sums.numerator) for sums in able.values()}
    if len(lengths) != 1 or (n := lengths.pop()) < 2:
        return {}
    values = resampled_figures(list(able.values()))
    return {name: (row, n) for name, row in zip(able, values, strict=True)}


def _paired(
    resampled: Mapping[str, tuple[np.ndarray, int]], first: str, second: str
) -> tuple[float, float] | None:
    if first not in resampled or second not in resampled:
        return None
    (values, n), (others, _) = resampled[first], resampled[second]
    return percentile_interval(values - others, n)


def _apart(first: Figure, second: Figure) -> tuple[float, float]:
    """Covers 0 where the recorded intervals overlap."""
    (low, high), (other_low, other_high) = interval(first), interval(second)
    return low - other_high, high - other_low
