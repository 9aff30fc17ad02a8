"""The ordinary tasks of the run: lmms-eval's own figures, as it computed them."""

from __future__ import annotations

from collections.abc import Sequence

from connector_bench.number_style import with_interval
from connector_bench.report.blocks import Prose, ReportTable, Section, TableCell
from connector_bench.report.estimates import INTERVAL
from connector_bench.results.tasks import TaskMetric, TaskRun

DIRECTIONS: dict[bool | None, str] = {True: "higher", False: "lower"}


def tasks_section(tasks: Sequence[TaskRun]) -> Section:
    """One row a metric, with the interval that lmms-eval's standard error gives."""
    rows = [
        (
            TableCell(task.name),
            TableCell(metric.name),
            TableCell(shown(metric), metric.value),
            TableCell(DIRECTIONS.get(task.higher_is_better.get(metric.column), "–")),
            _documents(task, metric),
        )
        for task in tasks
        for metric in task.metrics
    ]
    if not rows:
        said = (
            "No task beside the connector's own was run, so there is nothing to compare the loss with. Name a VQA or "
            "captioning task in the same --tasks list."
        )
        return Section("section-tasks", "Tasks", "Task performance", (Prose(said, "missing"),))
    table = ReportTable(
        name="section-task-scores",
        title="Figures of lmms-eval",
        shows="± 1.96 standard errors over documents; no interval where lmms-eval gives none, or one of 0.",
        columns=("task", "metric", INTERVAL, "better", "documents"),
        rows=tuple(rows),
    )
    return Section("section-tasks", "Tasks", "Task performance", (table,))


def shown(metric: TaskMetric) -> str:
    """`0.716 ±.014`, with the interval that lmms-eval's standard error gives."""
    return with_interval(metric.value, *(metric.ends or (None, None)))


def _documents(task: TaskRun, metric: TaskMetric) -> TableCell:
    """Those that have the metric, where answers were kept: a task may ask some of its documents for it alone."""
    count = task.effective
    if task.has_samples:
        having = sum(row.columns.get(metric.column) is not None for row in task.documents.values())
        count = having or count
    return TableCell("–" if count is None else f"{count:,}", count)
