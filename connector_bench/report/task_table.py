"""The ordinary tasks of the run: lmms-eval's own figures, as it computed them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from connector_bench.report.blocks import KeyFigure, Prose, ReportTable, Section, TableCell
from connector_bench.report.estimates import NO_INTERVAL, number
from connector_bench.results.tasks import TaskMetric, TaskRun

NORMAL_95 = 1.959964
DIRECTIONS: dict[bool | None, str] = {True: "higher", False: "lower"}


def tasks_section(tasks: Sequence[TaskRun]) -> Section:
    """One row a metric, with the interval that lmms-eval's standard error gives."""
    rows = [
        (
            TableCell(task.name),
            TableCell(metric.name),
            TableCell(number(metric.value), metric.value),
            _ends(metric),
            TableCell(DIRECTIONS.get(task.higher_is_better.get(metric.column), "–")),
            _documents(task),
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
        shows="Value ± 1.96 standard errors over documents; no interval where lmms-eval gives no standard error.",
        columns=("task", "metric", "value", "95 % interval", "better", "documents"),
        rows=tuple(rows),
    )
    return Section("section-tasks", "Tasks", "Task performance", (table,))


def _ends(metric: TaskMetric) -> TableCell:
    if metric.stderr is None or not math.isfinite(metric.stderr):
        return TableCell(NO_INTERVAL)
    half = NORMAL_95 * metric.stderr
    return TableCell(f"{number(metric.value - half)} to {number(metric.value + half)}", 2 * half)


def _documents(task: TaskRun) -> TableCell:
    return TableCell("–" if task.effective is None else f"{task.effective:,}", task.effective)


def task_key(task: TaskRun) -> list[KeyFigure]:
    """The task's first metric, or CIDEr where it is a captioning task; nothing where it has no number."""
    metrics = sorted(task.metrics, key=lambda metric: "CIDEr" not in metric.name)
    if not metrics:
        return []
    metric = metrics[0]
    ends = _ends(metric).text
    beside = (
        f"95 % interval {ends}" if metric.stderr is not None else NO_INTERVAL,
        f"N = {_documents(task).text} documents",
    )
    return [KeyFigure(f"{task.name} {metric.name}", number(metric.value), beside)]
