"""A narrow view of the table for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from connector_bench.leaderboard.ranks import interval
from connector_bench.leaderboard.table import Table
from connector_bench.leaderboard.text import ARROWS, visible
from connector_bench.number_style import number, with_interval

FIGURE = len("≤ 0.000  #10")
"""Characters that a figure with its rank takes."""

if TYPE_CHECKING:
    import rich.table


def terminal(table: Table, metrics: Sequence[str], models: Collection[str] = ()) -> rich.table.Table:
    """The values of a few metrics, in their order, without their uncertainty; ranks behind the ranked ones.

    Where models are named the columns are those in which one of them has a figure. Rows without any are left out.
    """
    from rich import box
    from rich.table import Table as RichTable

    asked = [column for metric in metrics for column in table.columns if column.metric == metric]
    ours = {key for row in table.rows if row.model in models for key in row.figures}
    shown = [column for column in asked if column.key in ours] or asked
    view = RichTable(title="connector loss beside task metrics", box=box.SIMPLE_HEAD)
    view.add_column("model", no_wrap=True)
    for column in shown:
        title = f"{escape(visible(column.label))}{ARROWS[column.higher_is_better]}"
        view.add_column(title, justify="right", overflow="fold", min_width=FIGURE)
    for row in table.rows:
        if not row.figures.keys() & {column.key for column in shown}:
            continue
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
                known = figure.stderr is not None or None not in (figure.low, figure.high)
                low, high = interval(figure) if known else (None, None)
                shown = with_interval(figure.value, low, high, row.bound(column.key))
                yield (
                    f"{visible(row.model)}: {column.task}, {visible(column.label)} {shown}, "
                    f"place {rank} of {len(ranked)}"
                )
