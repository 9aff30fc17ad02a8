"""What people read: one row a connector, its seeds inside, with intervals over images and over seeds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import fmean, stdev

from scipy import stats

from connector_bench.leaderboard.columns import place_by, sorting_columns
from connector_bench.leaderboard.merge import SEED
from connector_bench.leaderboard.ranks import Candidate, ranks
from connector_bench.leaderboard.schema import Connector, Figure
from connector_bench.leaderboard.table import Column, Key, Kind, Rank, Row, Table
from connector_bench.leaderboard.text import figure_text
from connector_bench.metrics import control
from connector_bench.stats.bounds import Bound
from connector_bench.stats.paired import CONFIDENCE

KINDS: tuple[Kind, ...] = ("competitor", "reference", "control")
"""In the order in which they stand."""
OVER_SEEDS = "mean of {n} seeds; 95 % interval over images and, by Student's t, over seeds"
ALONE = "{n} seeds was measured, nothing is known of seeds"
SEEDS_ALONE = "mean of {n} seeds; 95 % t interval over seeds alone"


@dataclass(frozen=True)
class Entry:
    """A connector with its seeds, a model without any, or a control over all models."""

    name: str
    kind: Kind
    short: str
    """Its name without family and seed, where it is called after its family and no other has that name."""
    rows: tuple[Row, ...]
    """Its seeds in their order; one row where there are none."""
    figures: Mapping[Key, Figure]
    """Means over the seeds that have a figure in a column."""
    bounds: Mapping[Key, Bound]
    """What a figure is a bound of, where any seed's is one."""
    ranks: Mapping[Key, Rank] = field(default_factory=dict)

    @property
    def connector(self) -> Connector | None:
        """The first seed's: all have one shape."""
        return self.rows[0].connector

    def measured(self, key: Key) -> tuple[Row, ...]:
        """Its seeds that have a figure in a column."""
        return tuple(row for row in self.rows if key in row.figures)

    def partly(self, key: Key) -> str:
        """`1 of 3 seeds` where some of its seeds have no figure in a column; else empty."""
        measured = len(self.measured(key))
        return "" if measured in (0, len(self.rows)) else f"{measured} of {len(self.rows)} seeds"

    def text(self, key: Key) -> str:
        """A figure as tables show it, `≤ 0.701 ±.011 (1 of 3 seeds)`; empty where there is none."""
        said = figure_text(self.figures.get(key), self.bounds.get(key), control=self.kind == "control")
        partly = self.partly(key)
        return f"{said} ({partly})" if partly else said

    @property
    def trained(self) -> str | None:
        """Of an untrained reference: the name of the entry that it is read beside."""
        name = self.name.replace("/untrained_", "/", 1)
        return None if self.kind != "reference" or name == self.name else _without_seed(name)


def _without_seed(name: str) -> str:
    return match["name"] if (match := SEED.fullmatch(name)) else name


def entries_of(table: Table) -> tuple[Entry, ...]:
    """Every row of the table once, seeds of one connector together: competitors best first, references, controls."""
    models = {row.model for row in table.rows if row.kind != "control"}
    group_of = {
        model: f"{group.name}, its seeds" if group.name in models else group.name
        for group in table.groups
        for model in group.models
    }
    members: dict[tuple[bool, str], list[Row]] = {}
    for row in table.rows:
        of_all = row.kind == "control"
        name = row.model if of_all else group_of.get(row.model, row.model)
        members.setdefault((of_all, name), []).append(row)
    short = {key: _control(key[1]) if key[0] else _short(key[1], rows[0]) for key, rows in members.items()}
    taken = Counter(short[key] for key in members if not key[0])
    found = [
        _entry(key[1], short[key] if key[0] or taken[short[key]] == 1 else key[1], rows)
        for key, rows in members.items()
    ]
    order = sorting_columns(table.columns)
    return tuple(
        sorted(
            _ranked(found, table.columns),
            key=lambda entry: (KINDS.index(entry.kind), *place_by(order, entry.figures, entry.name)),
        )
    )


def _control(name: str) -> str:
    entry = control(name.replace(" ", "_"))
    return name if entry is None else entry.label


def _short(name: str, row: Row) -> str:
    mine = name.removeprefix(f"{row.connector and row.connector.family}/")
    return name if mine in ("", name) else _without_seed(mine)


def _entry(name: str, short: str, rows: Sequence[Row]) -> Entry:
    ordered = tuple(sorted(rows, key=lambda row: (len(row.model), row.model)))
    first = ordered[0]
    if len(ordered) == 1:
        return Entry(name, first.kind, short, ordered, first.figures, first.bounds, first.ranks)
    keys = dict.fromkeys(key for row in ordered for key in row.figures)
    bounds = {key: bound for row in ordered for key, bound in row.bounds.items()}
    figures = {
        key: over_seeds([row.figures[key] for row in ordered if key in row.figures], len(ordered))
        for key in keys
    }
    return Entry(name, first.kind, short, ordered, figures, bounds)


def over_seeds(seeds: Sequence[Figure], of: int | None = None) -> Figure:
    """The mean of one figure over the seeds that have it, out of `of` where others have none.

    Seeds share their images, so their mean's interval over images is as wide as theirs; what seeds add is a t interval
    of their mean. Both halves are added in quadrature. One seed alone keeps its interval, which is over images.
    """
    n = f"{len(seeds)}" if of in (None, len(seeds)) else f"{len(seeds)} of {of}"
    if len(seeds) == 1:
        said = [ALONE.format(n=n), *([seeds[0].method] if seeds[0].method else [])]
        return seeds[0].model_copy(update={"method": "; ".join(said)})
    value = fmean(seed.value for seed in seeds)
    if refused := [seed for seed in seeds if seed.refused]:
        none = {"low": None, "high": None, "method": refused[0].method, "stderr": None, "p": None}
        return seeds[0].model_copy(update={"value": value, **none})
    half = seed_half([[seed.value for seed in seeds]])
    below = [seed.value - seed.low for seed in seeds if seed.low is not None]
    above = [seed.high - seed.value for seed in seeds if seed.high is not None]
    whole = len(below) == len(above) == len(seeds)
    return seeds[0].model_copy(
        update={
            "value": value,
            "low": value - (math.hypot(fmean(below), half) if whole else half),
            "high": value + (math.hypot(fmean(above), half) if whole else half),
            "method": (OVER_SEEDS if whole else SEEDS_ALONE).format(n=n),
            "stderr": None,
            "p": None,
        }
    )


def seed_half(sides: Sequence[Sequence[float]]) -> float:
    """Half of the 95 % t interval, over seeds, of a mean, or of the difference of two (Welch).

    A side of one seed adds nothing, since nothing is known of its seeds.
    """
    return half_of([(stdev(side) ** 2 / len(side), len(side) - 1) for side in sides if len(side) > 1])


def half_of(variances: Sequence[tuple[float, int]]) -> float:
    """The same of the sides' means, each with its variance over seeds and the degrees of freedom of that."""
    total = sum(variance for variance, _ in variances)
    if not total:
        return 0.0
    freedom = total**2 / sum(variance**2 / free for variance, free in variances)
    return _quantile(round(freedom, 6)) * math.sqrt(total)


@cache
def _quantile(freedom: float) -> float:
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom))


def _ranked(found: Sequence[Entry], columns: Sequence[Column]) -> list[Entry]:
    """Models without seeds keep the ranks that the table gives them; else the intervals of all decide."""
    competitors = [entry for entry in found if entry.kind == "competitor"]
    if all(len(entry.rows) == 1 for entry in competitors):
        return list(found)
    places: dict[str, dict[Key, Rank]] = {entry.name: {} for entry in competitors}
    for column in columns:
        if column.ranked:
            candidates = {
                entry.name: Candidate(entry.figures[column.key])
                for entry in competitors
                if column.key in entry.figures
            }
            better = column.higher_is_better is not False
            for name, rank in ranks(candidates, higher_is_better=better).items():
                places[name][column.key] = rank
    return [
        replace(entry, ranks=places[entry.name]) if entry.kind == "competitor" else entry for entry in found
    ]
