"""Ranks with ties: models share a place where the interval of their paired difference covers 0."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from connector_bench.leaderboard.schema import DrawnTogether, Figure
from connector_bench.leaderboard.table import Rank
from connector_bench.stats.paired import (
    CONFIDENCE,
    ROUNDING,
    Sums,
    difference_interval,
    halved_difference,
)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A competitor in one ranked column, with what its difference to another can be paired by, if anything."""

    figure: Figure
    halvings: Float[np.ndarray, " halvings"] | None = None
    """One half of the images less the other, for halvings that candidates of the same groups share."""
    drawn_together: DrawnTogether | None = None
    """The groups of images that were halved; None where images were."""
    sums: Sums | None = None
    """What the figure is made of, image by image in one order for all candidates."""


def ranks(candidates: Mapping[str, Candidate], *, higher_is_better: bool) -> dict[str, Rank]:
    """Place of each candidate, best first.

    A group begins at its best model and takes in those that follow while the 95 % interval of the difference to
    that model covers 0, or the difference is rounding. The difference is paired over halvings (figures of
    neighbours, where an image also counts as a neighbour of others) or over images left out (ratios of sums).
    Where one side has neither, or the two halved other groups of images, the two recorded intervals decide: models
    share a place where these overlap, which tells fewer apart.
    """
    sign = -1 if higher_is_better else 1
    order = sorted(candidates, key=lambda name: (sign * candidates[name].figure.value, name))
    places: dict[str, tuple[int, bool]] = {}
    leader = None
    for place, name in enumerate(order, start=1):
        if leader is None:
            leader, places[name] = name, (place, True)
            continue
        gap = paired_gap(candidates[leader], candidates[name])
        best, figure = candidates[leader].figure, candidates[name].figure
        low, high = gap or _apart(best, figure)
        if low <= 0 <= high or abs(figure.value - best.value) <= ROUNDING:
            places[name] = places[leader][0], gap is not None
        else:
            leader, places[name] = name, (place, gap is not None)
    sizes = {place: [p for p, _ in places.values()].count(place) for place, _ in places.values()}
    return {name: Rank(place, sizes[place], paired) for name, (place, paired) in places.items()}


def interval(figure: Figure) -> tuple[float, float]:
    """The recorded interval, everything where it says why there is none; else two standard errors around the value;
    else the value alone."""
    if figure.low is not None and figure.high is not None:
        return figure.low, figure.high
    if figure.refused:
        return -math.inf, math.inf
    half = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) * (figure.stderr or 0.0)
    return figure.value - half, figure.value + half


def paired_gap(first: Candidate, second: Candidate) -> tuple[float, float] | None:
    """The 95 % interval of their difference over the same images, either way round; None where nothing pairs them."""
    return _halved(first, second) or _paired(first, second)


def _halved(first: Candidate, second: Candidate) -> tuple[float, float] | None:
    if first.halvings is None or second.halvings is None or len(first.halvings) != len(second.halvings):
        return None
    groups = first.drawn_together
    if (groups and groups.sha256) != (second.drawn_together and second.drawn_together.sha256):
        return None
    found = halved_difference(
        first.figure.value,
        second.figure.value,
        first.halvings,
        second.halvings,
        images=first.figure.n or 0,
        k=first.figure.k,
        groups=None if groups is None else int(groups.worth),
    )
    return None if math.isnan(found.low) else (found.low, found.high)


def _paired(first: Candidate, second: Candidate) -> tuple[float, float] | None:
    if first.sums is None or second.sums is None:
        return None
    if len(first.sums.numerator) != len(second.sums.numerator):
        return None
    found = difference_interval(second.sums, first.sums)
    return None if math.isnan(found[0]) else found


def _apart(first: Figure, second: Figure) -> tuple[float, float]:
    """Covers 0 where the recorded intervals overlap."""
    (low, high), (other_low, other_high) = interval(first), interval(second)
    return low - other_high, high - other_low
