"""What competitors are read against: models of the zoo that learnt nothing or lose nothing, and each run's controls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import median

from connector_bench.leaderboard.schema import Figure
from connector_bench.leaderboard.table import Column, Key, Kind, Row
from connector_bench.metrics import corrected
from connector_bench.number_style import counted

REFERENCE_MODELS = re.compile(r"connector_zoo/(identity|rotation|untrained_.+)-seed\d+")


def kind_of(model: str) -> Kind:
    """Whether a model competes; the zoo's connectors that lose nothing or stay untrained do not."""
    return "reference" if REFERENCE_MODELS.fullmatch(model) else "competitor"


def control_rows(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """One row a control, over all competitors that measured it beside themselves on the same images.

    A control's figures stand in the columns of the metrics they are controls of.
    """
    competitors = [row for row in rows if row.kind == "competitor"] or list(rows)
    found: dict[str, dict[Key, Figure]] = {}
    for column in columns:
        if column.control is None:
            continue
        figures = [row.figures[column.key] for row in competitors if column.key in row.figures]
        if not figures:
            continue
        metric = column.metric.removeprefix(f"{column.control}_")
        target = found.setdefault(column.control, {})
        target[(column.task, metric)] = _span(figures)
        if (adjusted := _beyond_chance(metric, figures)) is not None:
            target[(column.task, adjusted[0])] = adjusted[1]
    return [Row(control.replace("_", " "), "control", None, found[control]) for control in sorted(found)]


def _span(figures: Sequence[Figure]) -> Figure:
    values = [figure.value for figure in figures]
    return Figure(
        value=median(values),
        low=min(values),
        high=max(values),
        method=f"median, smallest and largest of {counted(len(values), 'run')}",
        chance=figures[0].chance,
        k=figures[0].k,
    )


def _beyond_chance(metric: str, figures: Sequence[Figure]) -> tuple[str, Figure] | None:
    """A control's overlap corrected for chance, as the models' is."""
    name = corrected(metric)
    if name is None or any(figure.chance is None for figure in figures):
        return None
    moved = [
        figure.model_copy(update={"value": (figure.value - chance) / (1 - chance), "chance": 0.0})
        for figure in figures
        if (chance := figure.chance) is not None and chance < 1
    ]
    return (name, _span(moved)) if moved else None
