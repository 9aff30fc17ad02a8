"""Every file of a board that is generated from its results: one line each, and `build` and `check` know it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from connector_bench.leaderboard.csv_file import csv_file
from connector_bench.leaderboard.json_file import json_file
from connector_bench.leaderboard.markdown import markdown
from connector_bench.leaderboard.page import page
from connector_bench.leaderboard.table import Table

RENDERINGS: Mapping[str, Callable[[Table, Path], str]] = {
    "LEADERBOARD.md": lambda table, board: markdown(table),
    "leaderboard.csv": lambda table, board: csv_file(table),
    "leaderboard.json": lambda table, board: json_file(table),
    "index.html": page,
}
"""Path below the board -> the file's whole text, from the table and what else is committed below the board.

Nothing else goes into it, no date and no version, so that a stale file shows.
"""


def generated_files(table: Table, board: Path) -> dict[str, str]:
    """Text of every generated file by its path below the board."""
    return {name: render(table, board) for name, render in RENDERINGS.items()}
