"""Every file of a board that is generated from its results: one line each, and `build` and `check` know it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connector_bench.leaderboard.markdown import markdown
from connector_bench.leaderboard.table import Table

RENDERINGS: Mapping[str, Callable[[Table], str]] = {
    "LEADERBOARD.md": markdown,
}
"""Path below the board -> the whole text of the file; a pure function of the table, so that a stale file shows."""


def generated_files(table: Table) -> dict[str, str]:
    """Text of every generated file by its path below the board."""
    return {name: render(table) for name, render in RENDERINGS.items()}
