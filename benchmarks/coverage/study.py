"""The study's rows as a table to read, and as a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.coverage.simulated import Row, Share
from connector_bench.atomic_files import write_atomically

DECIMALS = 4
COLUMNS = ("setting", "figure", "given", "coverage", "type-I error", "half-width", "verdict")

OVER_SETTINGS = ("family", "figure", "settings", "coverage", "type-I error", "what does not hold")


def said(rows: Iterable[Row]) -> str:
    """A table for each family."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(row.family, []).append(row)
    return "\n\n".join(f"### {family}\n\n{_table(held)}" for family, held in families.items())


def _table(rows: Iterable[Row]) -> str:
    cells = [
        [
            row.setting,
            row.figure,
            f"{row.given:.0%}",
            row.coverage,
            row.rejected,
            None if row.half_width is None else f"{row.half_width:.3f}",
            f"**{row.verdict}**" if row.bold else row.verdict,
        ]
        for row in rows
    ]
    return tabulate(cells, headers=COLUMNS, tablefmt="github", disable_numparse=True)


def brief(rows: Iterable[Row]) -> str:
    """A line a figure of a family: over its settings the least and the most, and each one that does not hold."""
    figures: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        figures.setdefault((row.family, row.figure), []).append(row)
    cells = [[*place, *_over_settings(held)] for place, held in figures.items()]
    return tabulate(cells, headers=OVER_SETTINGS, tablefmt="github", disable_numparse=True)


def _over_settings(rows: Sequence[Row]) -> list[str]:
    given = [row for row in rows if row.coverage]
    beyond = [f"{row.setting}: {row.verdict} ({row.coverage})" for row in given if row.verdict != "holds"]
    return [
        f"{len(given)} of {len(rows)}",
        _span([row.coverage.value for row in given if row.coverage]),
        _span([row.rejected.value for row in given if row.rejected]),
        "; ".join(beyond),
    ]


def _span(values: Sequence[float]) -> str:
    ends = [f"{end:.3f}".replace("0.", ".", 1) for end in (min(values), max(values))] if values else []
    return " to ".join(dict.fromkeys(ends))


def write(path: Path, rows: Iterable[Row]) -> None:
    """As JSON, a row a line, shares rounded to what so many simulations tell."""
    lines = ",\n".join(json.dumps(_rounded(asdict(row))) for row in rows)
    write_atomically(path, f"[\n{lines}\n]\n".encode())


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return _rounded(value)
    return round(value, DECIMALS) if isinstance(value, float) else value


def read(path: Path) -> list[Row]:
    """Rows that were written."""
    rows = json.loads(path.read_text())
    for row in rows:
        row |= {name: Share(**row[name]) if row[name] else None for name in ("coverage", "rejected")}
    return [Row(**row) for row in rows]
