"""Differences of two connectors over the same images, where their results hold what such a difference needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

import numpy as np

from connector_bench.headlines import RANKED
from connector_bench.leaderboard.board_entries import Entry, seed_half
from connector_bench.leaderboard.merge import candidate
from connector_bench.leaderboard.ranks import Candidate, paired_gap
from connector_bench.leaderboard.schema import OVERLAP
from connector_bench.leaderboard.table import Column, Table
from connector_bench.stats.paired import Sums

MOST_PAIRED = 60
"""Connectors beyond which no pair is reckoned beforehand: their number grows with the square."""


@dataclass(frozen=True)
class EntryPair:
    """One figure of one entry less that of another, by their numbers among the entries."""

    first: int
    second: int
    column: Column
    value: float
    half: float
    """Of the 95 % interval: over the same images, and over seeds where there are several."""


def paired_differences(table: Table, entries: Sequence[Entry]) -> Iterator[EntryPair]:
    """Every pair of models or connectors in every column that can be paired; none of very many entries."""
    measured = [(number, entry) for number, entry in enumerate(entries) if entry.kind != "control"]
    if len(measured) > MOST_PAIRED:
        return
    for column in table.columns:
        if column.metric == OVERLAP or column.ranked:
            found = [
                (number, entry, one)
                for number, entry in measured
                if (one := _of_entry(entry, column)) is not None
            ]
            for (number, first, one), (other, second, two) in combinations(found, 2):
                if (half := _half(one, two)) is not None:
                    value = first.figures[column.key].value - second.figures[column.key].value
                    both = math.hypot(half * _scale(column), _over_seeds(column, first, second))
                    yield EntryPair(number, other, column, value, both)


def _half(one: Candidate, two: Candidate) -> float | None:
    gap = paired_gap(one, two)
    return None if gap is None else (gap[1] - gap[0]) / 2


def _of_entry(entry: Entry, column: Column) -> Candidate | None:
    """What stands for the mean of its seeds in a paired difference; None where something is missing."""
    if column.key not in entry.figures:
        return None
    seeds = [candidate(row, column) for row in entry.measured(column.key)]
    figure = seeds[0].figure.model_copy(update={"value": fmean(seed.figure.value for seed in seeds)})
    halvings = [seed.halvings for seed in seeds if seed.halvings is not None]
    if len(halvings) == len(seeds) and len({len(gaps) for gaps in halvings}) == 1:
        return replace(seeds[0], figure=figure, halvings=np.mean(halvings, axis=0))
    sums = [seed.sums for seed in seeds if seed.sums is not None]
    if len(sums) == len(seeds) and _share_denominators(sums):
        mean = Sums(np.mean([one.numerator for one in sums], axis=0), sums[0].denominator)
        return replace(seeds[0], figure=figure, sums=mean)
    return None


def _share_denominators(sums: Sequence[Sums]) -> bool:
    """Seeds of one connector stand behind one encoder, whose variance is the same to each."""
    first = sums[0].denominator
    return all(
        len(one.denominator) == len(first) and np.allclose(one.denominator, first, rtol=1e-3) for one in sums
    )


def _scale(column: Column) -> float:
    """From a difference of overlaps to that of the column, which may have chance taken off."""
    if column.metric != RANKED["knn_preservation"] or column.k is None:
        return 1.0
    chance = column.k / (column.comparable.n - 1)
    return 1 / (1 - chance) if chance < 1 else 1.0


def _over_seeds(column: Column, *sides: Entry) -> float:
    return seed_half([[row.figures[column.key].value for row in side.measured(column.key)] for side in sides])
