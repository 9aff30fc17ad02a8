"""Merges runs into one row a model, and refuses what must not stand in one column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from connector_bench.harness_files import UnusableResult
from connector_bench.leaderboard.schema import Comparable, Connector, Figure, Run

RANK_COLUMN = ("knn_preservation", "knor_adj_10")
HEADLINES = (
    "knor_10",
    "knor_adj_10",
    "knor_adj_50",
    "knor_adj_100",
    "untrained_knor_10",
    "random_linear_knor_10",
)
"""Metrics of connector tasks that a table shows; the result files hold the others."""


@dataclass(frozen=True)
class Column:
    """One metric of one task: what every figure in it shares."""

    task: str
    metric: str
    comparable: Comparable
    chance: float | None
    higher_is_better: bool | None


@dataclass(frozen=True)
class Row:
    """One model with its figures by column; a missing one is absent and never averaged over."""

    model: str
    connector: Connector | None
    figures: dict[tuple[str, str], Figure]


@dataclass(frozen=True)
class Table:
    """The merged leaderboard, best first in `RANK_COLUMN`, rows without that figure last."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def headlines(self) -> Table:
        """The same rows with the columns that people compare: `HEADLINES` of connector tasks, all of the others."""
        shown = [c for c in self.columns if c.comparable.protocol is None or c.metric in HEADLINES]
        return Table(tuple(shown), self.rows)


def merge(runs: Sequence[Run]) -> Table:
    """One table of all runs, oldest first; the latest run of a model and task counts.

    Raises UnusableResult, naming both sides, for results of one task on other images, another N, other options or
    another protocol version, and for one model name with two sets of connector weights.
    """
    owner: dict[str, tuple[str, Comparable]] = {}
    connectors: dict[str, Connector | None] = {}
    figures: dict[str, dict[tuple[str, str], Figure]] = {}
    for run in runs:
        connectors[run.model] = _same_connector(run, connectors.get(run.model))
        for task, result in run.tasks.items():
            first_model, first = owner.setdefault(task, (run.model, result.comparable))
            _require_equal(task, first_model, first, run.model, result.comparable)
            kept = {key: figure for key, figure in figures.get(run.model, {}).items() if key[0] != task}
            figures[run.model] = kept | {(task, metric): figure for metric, figure in result.figures.items()}
    rows = [Row(model, connectors[model], found) for model, found in figures.items()]
    return Table(
        _columns(rows, {task: shared for task, (_, shared) in owner.items()}), tuple(sorted(rows, key=_order))
    )


def _order(row: Row) -> tuple[float, str]:
    figure = row.figures.get(RANK_COLUMN)
    return (-figure.value if figure else float("inf"), row.model)


def _columns(rows: Sequence[Row], shared: dict[str, Comparable]) -> tuple[Column, ...]:
    found: dict[tuple[str, str], Column] = {}
    for row in rows:
        for (task, metric), figure in row.figures.items():
            if metric != "n_images":
                found.setdefault(
                    (task, metric), Column(task, metric, shared[task], figure.chance, figure.higher_is_better)
                )
    return tuple(
        sorted(found.values(), key=lambda column: (column.task not in _connector_tasks(shared), column.task))
    )


def _connector_tasks(shared: dict[str, Comparable]) -> set[str]:
    return {task for task, comparable in shared.items() if comparable.protocol is not None}


def _same_connector(run: Run, known: Connector | None) -> Connector | None:
    if run.connector is None or known is None:
        return run.connector or known
    if run.connector.weights_sha256 != known.weights_sha256:
        raise UnusableResult(
            f"{run.model}: connector weights {run.connector.weights_sha256[:12]} differ from the "
            f"{known.weights_sha256[:12]} already filed under this name; give the new checkpoint another name"
        )
    return run.connector


def _require_equal(task: str, first_model: str, first: Comparable, model: str, other: Comparable) -> None:
    differing = [name for name in Comparable.model_fields if getattr(first, name) != getattr(other, name)]
    if differing:
        sides = "; ".join(
            f"{name}: {getattr(first, name)} against {getattr(other, name)}" for name in differing
        )
        raise UnusableResult(f"{task}: {first_model} and {model} are not comparable ({sides})")
