"""The table for a spreadsheet: one line a model, headline columns with interval and rank."""

from __future__ import annotations

import pandas as pd

from connector_bench.leaderboard.table import Column, Row, Table
from connector_bench.leaderboard.text import in_spreadsheet


def csv_file(table: Table) -> str:
    """UTF-8 text; empty cells are figures that were not measured. Text cells cannot become formulas."""
    lines = [_line(row, table.headlines) for row in table.rows]
    frame = pd.DataFrame(lines, columns=None if lines else ["model"])
    return frame.to_csv(index=False, lineterminator="\n")


Cell = str | float | None


def _line(row: Row, columns: tuple[Column, ...]) -> dict[str, Cell]:
    line: dict[str, Cell] = {"model": in_spreadsheet(row.model), "kind": row.kind}
    connector = row.connector
    for name in ("family", "connector", "parameters", "dtype"):
        line[name] = None if connector is None else in_spreadsheet(str(getattr(connector, name)))
    for column in columns:
        name = in_spreadsheet(f"{column.task}/{column.metric}")
        figure, rank = row.figures.get(column.key), row.ranks.get(column.key)
        ends = (None, None, None) if figure is None else (figure.value, figure.low, figure.high)
        line |= dict(zip((name, f"{name} low", f"{name} high"), ends, strict=True))
        if column.ranked:
            line[f"{name} rank"] = None if rank is None else str(rank)
    return line
