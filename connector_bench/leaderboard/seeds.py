"""Seeds of one connector side by side, for display: the mean over seeds and how far they lie apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean, stdev

from connector_bench.leaderboard.table import Column, Group, Key, Row, Spread

SEED = re.compile(r"(?P<name>.+)-seed\d+")


def groups_of(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[Group, ...]:
    """Models whose names differ in their seed alone, where there are at least two."""
    members: dict[str, list[Row]] = {}
    for row in rows:
        if match := SEED.fullmatch(row.model):
            members.setdefault(match["name"], []).append(row)
    return tuple(_group(name, found, columns) for name, found in members.items() if len(found) > 1)


def _group(name: str, rows: Sequence[Row], columns: Sequence[Column]) -> Group:
    spreads: dict[Key, Spread] = {}
    for column in columns:
        values = [row.figures[column.key].value for row in rows if column.key in row.figures]
        if len(values) == len(rows):
            spreads[column.key] = Spread(fmean(values), stdev(values), min(values), max(values), len(values))
    models = tuple(row.model for row in rows)
    return Group(name, rows[0].kind, rows[0].connector, models, spreads)
