"""What a correlation across few connectors leans on: one connector, the narrow bottlenecks, the number of tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from connector_bench.association.values import LeaveOneOut, Part, Point, Sensitivity
from connector_bench.stats.correlation import rank_correlation
from connector_bench.stats.exact_spearman import MOST_VALUES, exact_p

FEWEST = 4
"""Connectors of a part: the order of fewer says nothing, as every third one of three is as extreme as can be."""

PARTS: Mapping[str, re.Pattern[str]] = {
    "without the bottlenecks": re.compile(r"(?!(rank|mlp_hidden)\d+$).*"),
    "among the 49-token grids": re.compile("pixel_shuffle|patch_merger|avg_pool|c_abstractor"),
}
"""Connectors of the zoo by name. A bottleneck of two dimensions is far out on either axis by construction, and an MLP
of eight hidden numbers is one of rank eight; where the number of tokens is the same, it cannot make the order."""


def sensitivity(points: Sequence[Point]) -> Sensitivity | None:
    """Spearman's correlation of loss and score over trained connectors, each left out once, and in each of `PARTS`.

    None below `FEWEST` connectors and one. A part has no interval, and its p-value is exact up to twelve connectors.
    """
    trained = [point for point in points if point.group == "trained"]
    if len(trained) <= FEWEST:
        return None
    each = [
        LeaveOneOut(left_out.connector, value)
        for left_out in trained
        if np.isfinite(value := _correlation([point for point in trained if point is not left_out]))
    ]
    if not each:
        return None
    parts = {}
    for name, pattern in PARTS.items():
        held = [point for point in trained if pattern.fullmatch(point.connector)]
        value = _correlation(held) if FEWEST <= len(held) < len(trained) else np.nan
        if np.isfinite(value):
            p = exact_p(*_sides(held)) if len(held) <= MOST_VALUES else None
            parts[name] = Part(tuple(point.connector for point in held), value, p)
    lowest, highest = (choose(each, key=lambda one: one.value) for choose in (min, max))
    return Sensitivity(lowest, highest, parts)


def _correlation(points: Sequence[Point]) -> float:
    return float(rank_correlation(*_sides(points)))


def _sides(points: Sequence[Point]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([point.loss for point in points]), np.array([point.score for point in points])
