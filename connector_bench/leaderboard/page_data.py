"""What the page embeds: the table as plain JSON values, with every text made visible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from connector_bench.headlines import ESSENTIALS, MOST_ESSENTIALS
from connector_bench.leaderboard.board_entries import Entry, entries_of
from connector_bench.leaderboard.board_pairs import EntryPair, paired_differences
from connector_bench.leaderboard.columns import sorting_columns
from connector_bench.leaderboard.data_files import csv_file
from connector_bench.leaderboard.measured_on import first_places, measured_on, why_sorted
from connector_bench.leaderboard.page_detail import (
    Json,
    conditions,
    picture_of,
    rank_words,
    row_detail,
    unmasked,
)
from connector_bench.leaderboard.schema import Figure
from connector_bench.leaderboard.table import Column, Key, Rank, Row, Table
from connector_bench.metrics import Measure, listed_as
from connector_bench.metrics import metric as metric_of
from connector_bench.stats.bounds import SIGNS

TOPICS = ("Patches", "Stages", "Tasks", "Neighbours", "Geometry")
"""What the page calls the topics of a table, what boards are sorted by first: a phone shows one column. The last one is
made of figures of neighbours' tasks."""
TOPIC_OF = {
    "k-NN preservation": "Neighbours",
    "Patch reconstruction": "Patches",
    "Stages": "Stages",
    "Task performance": "Tasks",
}
OF_GEOMETRY = "geometry"
"""The family of k-NN preservation that describes the geometry of the vectors; its others are about neighbours."""
AS_THE_TASK_SAYS = "as lmms-eval's task {task} reports it"

Methods = dict[str | None, int]
"""Every way in which an interval was made, with its number."""
Embedded = list[float | int | str | None]
"""One figure, as `page_data` says."""


def page_data(table: Table, board: Path) -> Json:
    """Columns in groups, and rows with their figures and all that their details show.

    A row's figures stand in the order of the columns; one is `[value, low, high, method]`, its method an index into
    `methods`, then the sign of what is a bound, then `1 of 3 seeds` where others have none; both are left out where
    there is nothing to say. Null where there is no figure. Rows are entries, then their seeds.
    `board` is the folder in which the pictures of loss maps are found.
    """
    methods: Methods = {}
    columns = sorted(table.columns, key=lambda column: (TOPICS.index(_topic(column)), column.task))
    grouped = groupby(columns, key=lambda column: (_topic(column), column.task))
    first = {column.measure: column.task for column in reversed(columns)}
    essential = set(_essentials(columns, first))
    found = entries_of(table)
    rows = [*_entry_rows(found, columns, methods), *_seed_rows(found, columns, methods)]
    return {
        **measured_on(table),
        "why_sorted": why_sorted(table),
        "first_places": first_places(table, found),
        "groups": [_group(topic, list(members), first, essential) for (topic, _), members in grouped],
        "sorted_by": [_id(column.key) for column in sorting_columns(table.columns)],
        "rows": rows,
        "pairs": _pairs(paired_differences(table, found), columns),
        "methods": list(methods),
        "pictures": _pictures(table, board),
        "csv": csv_file(table),
    }


def _topic(column: Column) -> str:
    entry = metric_of(column.metric)
    if column.measure is not None and entry is not None and entry.family == OF_GEOMETRY:
        return "Geometry"
    return TOPIC_OF[column.topic]


def _id(key: Key) -> str:
    return unmasked("/".join(key))


def _essentials(columns: Sequence[Column], first: Mapping[Measure | None, str]) -> Iterator[Key]:
    """What is shown before a reader chooses: at most six columns, one of them at least a task's where there is any."""
    ours: dict[str, Key] = {}
    others: dict[str, Key] = {}
    for column in columns:
        if column.measure is None:
            others.setdefault(column.task, column.key)
        elif column.task == first[column.measure] and listed_as(column.metric) in ESSENTIALS:
            ours.setdefault(listed_as(column.metric), column.key)
    yield from list(ours.values())[: MOST_ESSENTIALS - bool(others)]
    yield from list(others.values())[: max(bool(others), MOST_ESSENTIALS - len(ours))]


def _group(
    topic: str, columns: Sequence[Column], first: Mapping[Measure | None, str], essential: set[Key]
) -> Json:
    shared = columns[0].comparable
    return {
        "title": topic,
        "task": unmasked(columns[0].task),
        "n": shared.n,
        "conditions": conditions(shared),
        "columns": [_column(column, _presets(topic, column, first, essential)) for column in columns],
    }


def _presets(
    topic: str, column: Column, first: Mapping[Measure | None, str], essential: set[Key]
) -> Iterator[str]:
    if column.key in essential:
        yield "essentials"
    usual = column.task == first[column.measure] and column.headline
    if column.measure is None or (usual and topic != "Geometry"):
        yield topic.lower()


def _column(column: Column, presets: Iterator[str]) -> Json:
    entry = None if column.measure is None else metric_of(column.metric)
    control = entry and entry.control
    meaning = AS_THE_TASK_SAYS.format(task=column.task) if entry is None else entry.meaning
    return {
        "id": _id(column.key),
        "metric": unmasked(column.metric),
        "label": unmasked(column.label),
        "meaning": unmasked(f"{meaning}; control: {control.meaning}" if control else meaning),
        "formula": entry and entry.chance,
        "source": entry and (entry.source or None),
        "measure": column.measure,
        "control": column.control,
        "control_label": control and control.label,
        "of": unmasked(column.metric.removeprefix(f"{column.control}_")),
        "chance": column.chance,
        "higher_is_better": column.higher_is_better,
        "mark": entry is None or entry.is_a_mark,
        "presets": list(presets),
        "ranked": column.ranked,
    }


def _entry_rows(found: Sequence[Entry], columns: Sequence[Column], methods: Methods) -> Iterator[Json]:
    for entry in found:
        alone = len(entry.rows) == 1
        yield {
            "id": _entry_id(entry),
            "model": unmasked(entry.short),
            "name": unmasked(entry.name),
            "kind": entry.kind,
            **_connector(entry.rows[0]),
            "trained": entry.trained and unmasked(entry.trained),
            "seeds": [] if alone else [unmasked(row.model) for row in entry.rows],
            "figures": _figures(entry, columns, methods),
            "ranks": _ranks(entry.ranks, None if alone else "the intervals over images and seeds"),
            **(row_detail(entry.rows[0]) if alone else {}),
        }


def _entry_id(entry: Entry) -> str:
    return unmasked(f"control: {entry.name}" if entry.kind == "control" else entry.name)


def _seed_rows(found: Sequence[Entry], columns: Sequence[Column], methods: Methods) -> Iterator[Json]:
    for entry in found:
        for row in entry.rows if len(entry.rows) > 1 else ():
            yield {
                "id": unmasked(row.model),
                "model": unmasked(row.model.removeprefix(f"{entry.name}-").replace("seed", "seed ", 1)),
                "name": unmasked(row.model),
                "kind": "seed",
                "of": _entry_id(entry),
                **_connector(row),
                "seeds": [],
                "figures": _figures(row, columns, methods),
                "ranks": _ranks(row.ranks),
                **row_detail(row),
            }


def _connector(row: Row) -> Json:
    connector = row.connector
    return {
        "connector": connector and unmasked(connector.connector),
        "family": connector and unmasked(connector.family),
        "parameters": connector and connector.parameters,
    }


def _ranks(ranks: Mapping[Key, Rank], by: str | None = None) -> Json:
    return {_id(key): {"place": str(rank), "words": rank_words(rank, by)} for key, rank in ranks.items()}


def _figures(row: Entry | Row, columns: Sequence[Column], methods: Methods) -> list[Embedded | None]:
    bounds = row.bounds
    found: list[Embedded | None] = []
    for column in columns:
        figure = row.figures.get(column.key)
        sign = SIGNS[bounds[column.key]] if column.key in bounds else ""
        partly = row.partly(column.key) if isinstance(row, Entry) else ""
        found.append(None if figure is None else _figure(figure, methods, sign, partly))
    return found


def _figure(figure: Figure, methods: Methods, sign: str, partly: str) -> Embedded:
    number = methods.setdefault(None if figure.method is None else unmasked(figure.method), len(methods))
    known: Embedded = [_rounded(figure.value), _rounded(figure.low), _rounded(figure.high), number]
    return [*known, sign, partly] if partly else [*known, sign] if sign else known


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _pairs(found: Iterator[EntryPair], columns: Sequence[Column]) -> Json:
    """By `first second`, the numbers of two entries: `[column, difference, half of its interval]` for each."""
    number = {column.key: place for place, column in enumerate(columns)}
    given: dict[str, list[list[float | int]]] = {}
    for pair in found:
        difference = [number[pair.column.key], float(f"{pair.value:.4g}"), float(f"{pair.half:.3g}")]
        given.setdefault(f"{pair.first} {pair.second}", []).append(difference)
    return given


def _pictures(table: Table, board: Path) -> Json:
    """The pictures of all loss maps, each once, by their path."""
    maps = (one for row in table.rows for result in row.results.values() for one in result.loss_maps)
    paths = dict.fromkeys(one.picture for one in maps if one.picture)
    return {path: found for path in paths if (found := picture_of(board, path))}
