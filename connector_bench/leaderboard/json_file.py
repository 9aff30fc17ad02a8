"""The table for programs: every figure of every row, one row a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from connector_bench.leaderboard.schema import SCHEMA_VERSION
from connector_bench.leaderboard.table import Column, Group, Key, Row, Table


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
    shown = (
        "task",
        "metric",
        "topic",
        "label",
        "measure",
        "chance",
        "higher_is_better",
        "k",
        "headline",
        "ranked",
    )
    return {
        "name": _name(column.key),
        **{name: getattr(column, name) for name in (*shown, "control")},
        "comparable": column.comparable.model_dump(mode="json", exclude_none=True),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "model": row.model,
        "kind": row.kind,
        "connector": row.connector and row.connector.model_dump(mode="json", exclude_none=True),
        "figures": {_name(key): _figure(figure) for key, figure in row.figures.items()},
        "ranks": {_name(key): asdict(rank) for key, rank in row.ranks.items()},
        "provenance": {
            task: found.model_dump(mode="json", exclude_none=True) for task, found in row.provenance.items()
        },
    }


def _figure(figure: Any) -> dict[str, Any]:
    return figure.model_dump(exclude_none=True, include={"value", "low", "high", "stderr", "n"})


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "kind": group.kind,
        "models": group.models,
        "spreads": {_name(key): asdict(spread) for key, spread in group.spreads.items()},
    }
