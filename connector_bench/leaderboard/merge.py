"""Merges runs into one row a model, and refuses what must not stand in one column or one row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev

import numpy as np

from connector_bench.headlines import RANKED
from connector_bench.leaderboard.columns import columns_of, place_by, same_conditions, sorting_columns
from connector_bench.leaderboard.published import published
from connector_bench.leaderboard.ranks import Candidate, ranks
from connector_bench.leaderboard.references import control_rows, kind_of
from connector_bench.leaderboard.schema import (
    OVERLAP,
    Comparable,
    Connector,
    Provenance,
    StoredRun,
    TaskResult,
)
from connector_bench.leaderboard.table import Column, Group, Key, Rank, Row, Spread, Table
from connector_bench.results.conditions import kind_of_probes
from connector_bench.results.harness_files import UnusableResult
from connector_bench.stats.paired import Sums

SEED = re.compile(r"(?P<name>.+)-seed\d+")


@dataclass
class _Filed:
    """What is known of one model so far."""

    checkpoint: str | None = None
    connector: Connector | None = None
    revision: tuple[str, str] | None = None
    results: dict[str, TaskResult] = field(default_factory=dict)
    provenance: dict[str, Provenance] = field(default_factory=dict)


def merge(runs: Sequence[StoredRun]) -> Table:
    """One table of all runs; of a model and a task the latest run counts.

    Raises UnusableResult, naming both sides, for results of one task on other images, another N, other options or
    another protocol version, and for one model name with two checkpoints, sets of connector weights, precisions,
    revisions, layouts or kinds of probe.
    """
    owner: dict[str, tuple[str, Comparable]] = {}
    filed: dict[str, _Filed] = {}
    for run in sorted(runs, key=lambda run: run.provenance.date):
        _take(filed.setdefault(run.model, _Filed()), run)
        for task, result in run.tasks.items():
            first = owner.setdefault(task, (_named(run), result.comparable))
            _require_equal(task, first, (_named(run), result.comparable))
    columns = columns_of([model.results for model in filed.values()])
    rows = _sorted(_ranked([_row(name, model) for name, model in filed.items()], columns), columns)
    return Table(
        columns=columns,
        rows=(*rows, *control_rows(rows, columns)),
        groups=_groups(rows, columns),
        published=published(),
    )


def _row(name: str, filed: _Filed) -> Row:
    figures = {
        (task, metric): figure
        for task, result in filed.results.items()
        for metric, figure in result.figures.items()
    }
    return Row(
        model=name,
        kind=kind_of(name),
        connector=filed.connector,
        figures=figures,
        results=filed.results,
        provenance=filed.provenance,
    )


def _ranked(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    found: dict[str, dict[Key, Rank]] = {row.model: {} for row in rows}
    for column in (column for column in columns if column.ranked):
        candidates = {
            row.model: candidate(row, column)
            for row in rows
            if row.kind == "competitor" and column.key in row.figures
        }
        for model, rank in ranks(candidates, higher_is_better=column.higher_is_better is not False).items():
            found[model][column.key] = rank
    return [replace(row, ranks=found[row.model]) for row in rows]


def candidate(row: Row, column: Column) -> Candidate:
    """What a row has in a ranked column, with what its difference to another can be paired by.

    The overlap corrected for chance is paired as the overlap, of which it is a linear function.
    """
    result, figure = row.results[column.task], row.figures[column.key]
    halved = OVERLAP if column.metric == RANKED["knn_preservation"] else column.metric
    if (gaps := result.halvings.get(halved)) and halved in result.figures:
        return Candidate(
            result.figures[halved], halvings=np.asarray(gaps), drawn_together=result.drawn_together
        )
    if column.metric == "lost" and result.per_image.keys() >= {"sse", "sst"}:
        sums = Sums(np.asarray(result.per_image["sse"]), np.asarray(result.per_image["sst"]))
        return Candidate(figure, sums=sums)
    return Candidate(figure)


def _sorted(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """Competitors first; best first in the first of `sorting_columns` that a row has a figure in."""
    order = sorting_columns(columns)
    return sorted(rows, key=lambda row: (row.kind != "competitor", *place_by(order, row.figures, row.model)))


def _groups(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[Group, ...]:
    """For display: models whose names differ in their seed alone, where there are at least two."""
    members: dict[str, list[Row]] = {}
    for row in rows:
        if match := SEED.fullmatch(row.model):
            members.setdefault(match["name"], []).append(row)
    return tuple(_group(name, found, columns) for name, found in members.items() if len(found) > 1)


def _group(name: str, rows: Sequence[Row], columns: Sequence[Column]) -> Group:
    spreads: dict[Key, Spread] = {}
    for column in columns:
        values = [row.figures[column.key].value for row in rows if column.key in row.figures]
        if len(values) == len(rows):
            bound = next((bound for row in rows if (bound := row.bound(column.key))), None)
            ends = min(values), max(values)
            spreads[column.key] = Spread(fmean(values), stdev(values), *ends, len(values), bound)
    models = tuple(row.model for row in rows)
    return Group(name, rows[0].kind, rows[0].connector, models, spreads)


def _take(filed: _Filed, run: StoredRun) -> None:
    if run.checkpoint is not None:
        if filed.checkpoint not in (None, run.checkpoint):
            raise UnusableResult(
                f"{_named(run)}: the checkpoint lies in another folder than the one filed under this name; {OTHER_NAME}"
            )
        filed.checkpoint = run.checkpoint
    for task, result in run.tasks.items():
        _require_same_probes(run, task, result, filed.results.get(task))
    if run.connector is not None:
        filed.connector = _same_connector(run, run.connector, filed.connector)
    filed.revision = _same_revision(run, filed.revision)
    filed.results |= run.tasks
    filed.provenance |= dict.fromkeys(run.tasks, run.provenance)


def _named(run: StoredRun) -> str:
    return f"{run.model} of {run.provenance.date or 'no date'}"


OTHER_NAME = "give the new run another name (--name), or let it take the old one's place (--replace)"


def _same_connector(run: StoredRun, connector: Connector, known: Connector | None) -> Connector:
    if known is None or connector == known:
        return connector
    hashes = connector.weights_sha256, known.weights_sha256
    if None not in hashes and hashes[0] != hashes[1]:
        raise UnusableResult(
            f"{_named(run)}: connector weights {str(hashes[0])[:12]} differ from the "
            f"{str(hashes[1])[:12]} already filed under this name; {OTHER_NAME}"
        )
    for name in ("dtype", "resolution", "assumptions"):
        new, old = getattr(connector, name), getattr(known, name)
        if new != old and new is not None and old is not None:
            raise UnusableResult(
                f"{_named(run)}: {name} {_said(new)} differs from the {_said(old)} already filed under this name; "
                f"{OTHER_NAME}"
            )
    return connector


def _said(value: object) -> str:
    return ("; ".join(value) or "none") if isinstance(value, tuple) else str(value)


def _require_same_probes(run: StoredRun, task: str, new: TaskResult, old: TaskResult | None) -> None:
    if old is None or new.probe is None or old.probe is None:
        return
    kinds = [kind_of_probes(result.probe.probes) for result in (new, old) if result.probe]
    if kinds[0] != kinds[1]:
        raise UnusableResult(
            f"{_named(run)}: {task} has {kinds[0]}, what is filed under this name has {kinds[1]}; {OTHER_NAME}"
        )


def _same_revision(run: StoredRun, known: tuple[str, str] | None) -> tuple[str, str] | None:
    revision = run.provenance.revision
    if revision is None:
        return known
    if known is not None and known[0] != revision:
        raise UnusableResult(
            f"{_named(run)}: revision {revision} differs from the {known[0]} of {known[1]}; {OTHER_NAME}"
        )
    return revision, _named(run)


def _require_equal(task: str, first: tuple[str, Comparable], other: tuple[str, Comparable]) -> None:
    differing = same_conditions(first[1], other[1])
    if differing:
        sides = "; ".join(f"{name}: {a} against {b}" for name, (a, b) in differing.items())
        raise UnusableResult(f"{task}: {first[0]} and {other[0]} are not comparable ({sides})")
