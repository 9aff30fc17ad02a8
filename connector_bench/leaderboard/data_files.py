"""The table for programs (JSON: every figure of every row, one row a line) and for a spreadsheet (CSV: headlines)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from connector_bench.leaderboard.schema import SCHEMA_VERSION, Figure
from connector_bench.leaderboard.table import Column, Group, Key, Row, Table
from connector_bench.leaderboard.text import in_spreadsheet
from connector_bench.stats.bounds import Bound, may_be_bound


def json_file(table: Table) -> str:
    """ASCII text; figures by `task/metric`, absent where they were not measured."""
    parts = {
        "schema_version": json.dumps(SCHEMA_VERSION),
        "columns": _lines(map(_column, table.columns)),
        "rows": _lines(map(_row, table.rows)),
        "groups": _lines(map(_group, table.groups)),
        "published": json.dumps(asdict(table.published)),
    }
    return "{\n" + ",\n".join(f'"{name}": {text}' for name, text in parts.items()) + "\n}\n"


def _lines(items: Iterable[Mapping[str, Any]]) -> str:
    return "[\n" + ",\n".join(json.dumps(item) for item in items) + "\n]"


def _name(key: Key) -> str:
    return "/".join(key)


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": _name(column.key),
        **{name: value for name, value in vars(column).items() if name != "comparable"},
        "comparable": column.comparable.model_dump(mode="json", exclude_none=True),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "model": row.model,
        "kind": row.kind,
        "connector": row.connector and row.connector.model_dump(mode="json", exclude_none=True),
        "figures": {_name(key): _figure(figure, row.bound(key)) for key, figure in row.figures.items()},
        "ranks": {_name(key): asdict(rank) for key, rank in row.ranks.items()},
        "provenance": {
            task: found.model_dump(mode="json", exclude_none=True) for task, found in row.provenance.items()
        },
    }


def _figure(figure: Figure, bound: Bound | None) -> dict[str, Any]:
    kept = figure.model_dump(exclude_none=True, include={"value", "low", "high", "stderr", "n"})
    return kept if bound is None else {**kept, "bound": bound}


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "kind": group.kind,
        "models": group.models,
        "spreads": {_name(key): asdict(spread) for key, spread in group.spreads.items()},
    }


def csv_file(table: Table) -> str:
    """One line a model, headline columns with interval and rank; UTF-8 text.

    Empty cells are figures that were not measured. Text cells cannot become formulas.
    """
    lines = [_line(row, table.headlines) for row in table.rows]
    frame = pd.DataFrame(lines, columns=None if lines else ["model"])
    return frame.to_csv(index=False, lineterminator="\n")


def _line(row: Row, columns: tuple[Column, ...]) -> dict[str, str | float | None]:
    line: dict[str, str | float | None] = {"model": in_spreadsheet(row.model), "kind": row.kind}
    connector = row.connector
    for name in ("family", "connector", "parameters", "dtype"):
        line[name] = None if connector is None else in_spreadsheet(str(getattr(connector, name)))
    for column in columns:
        name = in_spreadsheet(f"{column.task}/{column.metric}")
        figure, rank = row.figures.get(column.key), row.ranks.get(column.key)
        ends = (None, None, None) if figure is None else (figure.value, figure.low, figure.high)
        line |= dict(zip((name, f"{name} low", f"{name} high"), ends, strict=True))
        if may_be_bound(column.metric):
            line[f"{name} bound"] = row.bound(column.key)
        if column.ranked:
            line[f"{name} rank"] = None if rank is None else str(rank)
    return line
