"""What the page embeds: the table as plain JSON values, with every text made visible."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from connector_bench.headlines import ESSENTIALS
from connector_bench.leaderboard.page_detail import Json, conditions, rank_words, row_detail, unmasked
from connector_bench.leaderboard.schema import Figure
from connector_bench.leaderboard.table import Column, Key, Row, Table
from connector_bench.metrics import listed_as
from connector_bench.metrics import metric as metric_of
from connector_bench.stats.bounds import SIGNS, Bound

TOPICS = ("k-NN preservation", "Patch reconstruction", "Stages", "Task performance", "Geometry")
OF_GEOMETRY = ("ranks", "geometry")
"""Families of k-NN preservation that describe the geometry of the vectors; its others are about neighbours."""

Methods = dict[str | None, int]
"""Every way in which an interval was made, with its number."""


def page_data(table: Table, board: Path) -> Json:
    """Columns in groups, and rows with their figures and all that their details show.

    A figure is `[value, low, high, method]`, its method an index into `methods`, and ends with the sign of what is a
    bound. `board` is the folder in which the
    pictures of loss maps are found.
    """
    methods: Methods = {}
    columns = sorted(table.columns, key=lambda column: (TOPICS.index(_topic(column)), column.task))
    grouped = groupby(columns, key=lambda column: (_topic(column), column.task, column.measure))
    first = {column.measure: column.task for column in reversed(columns)}
    return {
        "groups": [
            _group(topic, list(members), usual=first[measure] == task)
            for (topic, task, measure), members in grouped
        ],
        "rows": [_row(row, methods) | row_detail(row, board) | _seeds(row, table) for row in table.rows],
        "methods": list(methods),
    }


def _topic(column: Column) -> str:
    entry = metric_of(column.metric)
    if column.measure is not None and entry is not None and entry.family in OF_GEOMETRY:
        return "Geometry"
    return column.topic


def _id(key: Key) -> str:
    return unmasked("/".join(key))


def _group(topic: str, columns: Sequence[Column], *, usual: bool) -> Json:
    first = columns[0]
    shared = first.comparable
    return {
        "id": unmasked(f"{topic}: {first.task}"),
        "title": topic,
        "task": unmasked(first.task),
        "n": shared.n,
        "protocol": None if shared.protocol is None else unmasked(shared.protocol),
        "conditions": conditions(shared),
        "columns": [
            _column(
                column,
                shown=column is first if column.measure is None else usual and _essential(column),
            )
            for column in columns
        ],
    }


def _essential(column: Column) -> bool:
    return listed_as(column.metric) in ESSENTIALS


def _column(column: Column, *, shown: bool) -> Json:
    return {
        "id": _id(column.key),
        "metric": unmasked(column.metric),
        "label": unmasked(column.label),
        "measure": column.measure,
        "control": column.control,
        "of": unmasked(column.metric.removeprefix(f"{column.control}_")),
        "chance": column.chance,
        "higher_is_better": column.higher_is_better,
        "shown": shown,
        "ranked": column.ranked,
    }


def _row(row: Row, methods: Methods) -> Json:
    connector = row.connector
    return {
        "id": unmasked(f"control: {row.model}" if row.kind == "control" else row.model),
        "model": unmasked(row.model),
        "kind": row.kind,
        "connector": connector and unmasked(connector.connector),
        "family": connector and unmasked(connector.family),
        "parameters": connector and connector.parameters,
        "figures": {
            _id(key): _figure(figure, methods, row.bound(key)) for key, figure in row.figures.items()
        },
        "ranks": {
            _id(key): {"place": str(rank), "words": rank_words(rank)} for key, rank in row.ranks.items()
        },
    }


def _seeds(row: Row, table: Table) -> Json:
    """The other seeds of the same connector: how many there are, and mean and standard deviation by column."""
    group = next(
        (group for group in table.groups if row.model in group.models and row.kind != "control"), None
    )
    if group is None:
        return {"seeds": None}
    spreads = {
        _id(key): [_rounded(spread.mean), _rounded(spread.sd), *_sign(spread.bound)]
        for key, spread in group.spreads.items()
    }
    return {"seeds": {"n": len(group.models), "spreads": spreads}}


def _figure(figure: Figure, methods: Methods, bound: Bound | None) -> list[float | int | str | None]:
    number = methods.setdefault(None if figure.method is None else unmasked(figure.method), len(methods))
    return [_rounded(figure.value), _rounded(figure.low), _rounded(figure.high), number, *_sign(bound)]


def _sign(bound: Bound | None) -> list[str]:
    """What stands before a bound; nothing for any other figure."""
    return [] if bound is None else [SIGNS[bound]]


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
