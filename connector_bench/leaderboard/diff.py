"""What changes between two tables, as Markdown for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from connector_bench.leaderboard.table import Row, Table
from connector_bench.leaderboard.text import ARROWS, figure_text, in_markdown
from connector_bench.number_style import counted

MOST_LINES = 100
"""Lines of a comment's table; the rest is counted."""

Line = dict[str, str]


def table_diff(before: Table, after: Table) -> str:
    """Models that come, go or change: their headline figures and ranks before and after."""
    old, new = ({row.model: row for row in table.rows if row.kind != "control"} for table in (before, after))
    added, removed = [name for name in new if name not in old], [name for name in old if name not in new]
    lines = list(_lines(before, after, old, new))
    behind = sum(_other_changes(after, old[name], new[name]) for name in new if name in old)
    if not (added or removed or lines or behind):
        return "### Leaderboard\n\nNothing changes.\n"
    blocks = ["### Leaderboard", _summary(added, removed)]
    if lines:
        shown = pd.DataFrame(lines[:MOST_LINES]).to_markdown(index=False, disable_numparse=True)
        blocks.append(shown)
    if len(lines) > MOST_LINES:
        blocks.append(f"{counted(len(lines) - MOST_LINES, 'more line is', 'more lines are')} not shown.")
    if behind:
        blocks.append(
            f"{counted(behind, 'figure behind the headlines changes', 'figures behind the headlines change')} too."
        )
    return "\n\n".join(block for block in blocks if block) + "\n"


def _summary(added: list[str], removed: list[str]) -> str:
    said = [
        f"{len(names)} {'model' if len(names) == 1 else 'models'} {what}: "
        + ", ".join(map(in_markdown, names[:10]))
        + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        for what, names in (("added", added), ("removed", removed))
        if names
    ]
    return ". ".join(said) + "." if said else ""


def _lines(before: Table, after: Table, old: dict[str, Row], new: dict[str, Row]) -> Iterator[Line]:
    columns = {column.key: column for table in (before, after) for column in table.headlines}
    for name in dict.fromkeys([*new, *old]):
        for key, column in columns.items():
            label = (
                f"{in_markdown(column.task)}: {in_markdown(column.label)}{ARROWS[column.higher_is_better]}"
            )
            first, second = (_cell(rows.get(name), key) for rows in (old, new))
            if first != second:
                yield {"model": in_markdown(name), "column": label, "before": first, "after": second}


def _cell(row: Row | None, key: tuple[str, str]) -> str:
    if row is None or key not in row.figures:
        return ""
    rank = row.ranks.get(key)
    return figure_text(row.figures.get(key), row.bound(key), control=row.kind == "control") + (
        f", rank {rank}" if rank else ""
    )


def _other_changes(after: Table, old: Row, new: Row) -> int:
    headlines = {column.key for column in after.headlines}
    return sum(
        old.figures.get(key) != new.figures.get(key)
        for key in {*old.figures, *new.figures}
        if key not in headlines
    )
