"""The place of one figure of a new connector among those of known ones, with what seeds and questions leave open."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from scipy import stats

from connector_bench.leaderboard.board_entries import half_of
from connector_bench.leaderboard.merge import SEED
from connector_bench.leaderboard.references import kind_of
from connector_bench.leaderboard.schema import Figure, StoredRun
from connector_bench.stats.paired import CONFIDENCE

FEWEST_SEEDS = 3
"""Seeds from which a connector's own deviation over seeds is taken, in place of the usual one of the others."""


@dataclass(frozen=True)
class SeededFigure:
    """A figure of one connector over its seeds."""

    seeds: tuple[float, ...]
    stderr: float
    """Of one seed, over documents."""

    @property
    def mean(self) -> float:
        """Over seeds."""
        return fmean(self.seeds)

    @property
    def deviation(self) -> float | None:
        """Standard deviation over seeds; None of fewer than three."""
        return stdev(self.seeds) if len(self.seeds) >= FEWEST_SEEDS else None


@dataclass(frozen=True)
class PlacedFigure:
    """Where a figure stands; 1 is the highest."""

    value: float
    low: float
    high: float
    place: int
    highest: int
    """The best place that the intervals of the differences allow."""
    lowest: int
    of: int
    """Number of connectors, this one counted."""
    differences: Mapping[str, tuple[float, float, float]]
    """By name of the other, highest first: this one less it, and the interval's ends."""


def known_figures(runs: Sequence[StoredRun], task: str, metric: str) -> dict[str, SeededFigure]:
    """By name without its seed: a figure of every competitor of a board that was measured on this task."""
    found: dict[str, dict[str, Figure]] = {}
    for run in runs:
        match = SEED.fullmatch(run.model)
        figure = run.tasks[task].figures.get(metric) if task in run.tasks else None
        if match and figure is not None and kind_of(run.model) == "competitor":
            found.setdefault(match["name"], {})[run.model] = figure
    return {
        name: SeededFigure(
            tuple(figure.value for figure in seeds.values()),
            fmean(figure.stderr or 0.0 for figure in seeds.values()),
        )
        for name, seeds in found.items()
    }


def placed(mine: SeededFigure, others: Mapping[str, SeededFigure]) -> PlacedFigure:
    """The place of a figure among others.

    Intervals are over documents, which all seeds of a connector share, and by Student's t over seeds, in quadrature.
    With fewer than three seeds the usual (median) deviation of the others stands for the connector's own, known no
    better than from three seeds. Differences are not paired over documents, so their intervals are rather too wide.

    Raises:
        ValueError: there are no others.
    """
    if not others:
        raise ValueError("a place needs others, and there are none")
    usual = median([one.deviation for one in others.values() if one.deviation is not None] or [0.0])
    normal = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))

    def half_over_all(*sides: SeededFigure) -> float:
        documents = normal * math.hypot(*(one.stderr for one in sides))
        return math.hypot(documents, half_of([_over_seeds(one, usual) for one in sides]))

    differences = {}
    for name, other in sorted(others.items(), key=lambda item: -item[1].mean):
        gap, half = mine.mean - other.mean, half_over_all(mine, other)
        differences[name] = gap, gap - half, gap + half
    half = half_over_all(mine)
    return PlacedFigure(
        mine.mean,
        mine.mean - half,
        mine.mean + half,
        1 + sum(gap < 0 for gap, _, _ in differences.values()),
        1 + sum(high < 0 for _, _, high in differences.values()),
        1 + sum(low <= 0 for _, low, _ in differences.values()),
        1 + len(others),
        differences,
    )


def _over_seeds(one: SeededFigure, usual: float) -> tuple[float, int]:
    """The variance of its mean over seeds, and the degrees of freedom of that."""
    own = usual if one.deviation is None else one.deviation
    return own**2 / len(one.seeds), max(len(one.seeds), FEWEST_SEEDS) - 1
