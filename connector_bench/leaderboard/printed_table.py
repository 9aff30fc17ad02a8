"""A narrow view of the table for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from connector_bench.leaderboard.ranks import interval
from connector_bench.leaderboard.table import Table
from connector_bench.leaderboard.text import ARROWS, number, visible

if TYPE_CHECKING:
    import rich.table


def terminal(table: Table, metrics: Sequence[str]) -> rich.table.Table:
    """The values of a few metrics, in their order, without their uncertainty; ranks behind the ranked ones."""
    from rich import box
    from rich.table import Table as RichTable

    shown = [column for metric in metrics for column in table.columns if column.metric == metric]
    view = RichTable(title="connector loss beside task metrics", box=box.SIMPLE_HEAD)
    view.add_column("model", no_wrap=True)
    for column in shown:
        title = f"{escape(visible(column.label))}{ARROWS[column.higher_is_better]}"
        view.add_column(title, justify="right", overflow="fold")
    for row in table.rows:
        cells = []
        for column in shown:
            figure, rank = row.figures.get(column.key), row.ranks.get(column.key)
            value = "" if figure is None else number(figure.value, row.bound(column.key))
            cells.append(value if rank is None else f"{value}  #{rank}")
        view.add_row(escape(visible(row.model)), *cells, style="dim" if row.kind != "competitor" else None)
    return view


def places(table: Table, models: Collection[str]) -> Iterator[str]:
    """A line for each ranked figure of these models: its interval and its place among the competitors."""
    for column in table.columns:
        ranked = [row for row in table.competitors if column.key in row.ranks]
        for row in ranked if column.ranked else ():
            if row.model in models:
                figure, rank = row.figures[column.key], row.ranks[column.key]
                low, high = interval(figure)
                yield (
                    f"{visible(row.model)}: {column.task}, {visible(column.label)} {number(figure.value)} "
                    f"[{number(low)}, {number(high)}], place {rank} of {len(ranked)}"
                )
