"""Which columns a table has, in which order, under which name, and which of them people compare models by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from connector_bench.headlines import HEADLINES, RANKED, SORTED_BY
from connector_bench.leaderboard.schema import Comparable, Figure, Measure, TaskResult
from connector_bench.leaderboard.table import Column, Key, Topic
from connector_bench.metrics import label_of, listed_as
from connector_bench.metrics import metric as metric_of
from connector_bench.results.conditions import NO_CONDITION, differing

TOPICS: dict[Measure | None, Topic] = {
    "knn_preservation": "k-NN preservation",
    "patch_reconstruction": "Patch reconstruction",
    "connector_stages": "Stages",
    None: "Task performance",
}


def columns_of(results: Iterable[Mapping[str, TaskResult]]) -> tuple[Column, ...]:
    """Every column that any model has a figure in: connector tasks first, headlines before the rest."""
    found: dict[tuple[str, str], Column] = {}
    for tasks in results:
        for task, result in tasks.items():
            for metric, figure in result.figures.items():
                if not is_count(metric):
                    found.setdefault((task, metric), _column(task, metric, result, figure))
    return tuple(sorted(found.values(), key=_place))


def is_count(name: str) -> bool:
    """Whether our tasks report it beside figures as a number of things; those stand in `Comparable`."""
    entry = metric_of(name)
    return entry is not None and entry.family == "count"


def control_of(name: str) -> str | None:
    """The control whose figure a metric is, None where it is the model's own."""
    entry = metric_of(name)
    return None if entry is None or entry.control is None else entry.control.key


def _column(task: str, metric: str, result: TaskResult, figure: Figure) -> Column:
    measure = result.measure
    return Column(
        task=task,
        metric=metric,
        topic=TOPICS[measure],
        label=metric if measure is None else label_of(metric),
        comparable=result.comparable,
        measure=measure,
        chance=figure.chance,
        higher_is_better=figure.higher_is_better,
        k=figure.k,
        headline=measure is None or listed_as(metric) in HEADLINES[measure],
        ranked=measure is not None and metric in (RANKED.get(measure), *SORTED_BY),
        control=None if measure is None else control_of(metric),
    )


def _place(column: Column) -> tuple[int, str, int]:
    if column.measure is None:
        return len(TOPICS), column.task, 0
    headlines = HEADLINES[column.measure]
    name = listed_as(column.metric)
    rank = headlines.index(name) if name in headlines else len(headlines)
    return list(TOPICS).index(column.measure), column.task, rank


def sorting_columns(columns: Sequence[Column]) -> list[Column]:
    """By which rows are put in order, the first that a row has a figure in: `SORTED_BY`, then whatever has ranks."""
    own = sorted(columns, key=lambda column: column.measure is not None and column.task != column.measure)
    named = [column for metric in SORTED_BY for column in own if column.metric == metric]
    return [*named, *(column for column in own if column.ranked and column not in named)]


def place_by(order: Sequence[Column], figures: Mapping[Key, Figure], name: str) -> tuple[int, float, str]:
    """By the first column of `order` that they have, best first, then by name; without one last."""
    for number, column in enumerate(order):
        if (figure := figures.get(column.key)) is not None:
            sign = 1 if column.higher_is_better is False else -1
            return number, sign * figure.value, name
    return len(order), 0.0, name


def same_conditions(first: Comparable, second: Comparable) -> dict[str, tuple[object, object]]:
    """What keeps two results of one task apart, by field; what one of them did not record keeps nothing apart."""
    return differing(_conditions(first), _conditions(second))


def _conditions(result: Comparable) -> dict[str, object]:
    options = {name: value for name, value in result.options.items() if name not in NO_CONDITION}
    return {**dict(result), "options": options}
