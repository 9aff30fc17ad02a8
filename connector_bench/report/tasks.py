"""The ordinary tasks of the run: lmms-eval's own figures, as it computed them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from connector_bench.report.blocks import Cell, KeyFigure, Prose, Section, Table
from connector_bench.report.estimates import NO_INTERVAL, number
from connector_bench.report.source import TaskResult

NORMAL_95 = 1.959964


def tasks_section(tasks: Sequence[TaskResult]) -> Section:
    """One row a metric, with the interval that lmms-eval's standard error gives."""
    rows = [
        (
            Cell(task.name),
            Cell(metric),
            Cell(number(value), value),
            _ends(value, stderr),
            Cell(_direction(task, metric)),
            _documents(task),
        )
        for task in tasks
        for metric, value, stderr in metrics_of(task)
    ]
    if not rows:
        said = (
            "No task beside the connector's own was run, so there is nothing to compare the loss with. Name a VQA or "
            "captioning task in the same --tasks list."
        )
        return Section("section-tasks", "Tasks", "Task performance", (Prose(said, "missing"),))
    table = Table(
        name="section-task-scores",
        title="Figures of lmms-eval",
        shows="Value ± 1.96 standard errors over documents; no interval where lmms-eval gives no standard error.",
        columns=("task", "metric", "value", "95 % interval", "better", "documents"),
        rows=tuple(rows),
    )
    return Section("section-tasks", "Tasks", "Task performance", (table,))


def metrics_of(task: TaskResult) -> Iterator[tuple[str, float, float | None]]:
    """Metric, value and standard error of every number that lmms-eval aggregated."""
    for key, value in task.metrics.items():
        metric, _, filtered = key.partition(",")
        if (
            not filtered
            or "_stderr" in metric
            or isinstance(value, bool)
            or not isinstance(value, int | float)
        ):
            continue
        stderr = task.metrics.get(f"{metric}_stderr,{filtered}")
        name = metric if filtered == "none" else f"{metric} ({filtered})"
        yield name, float(value), float(stderr) if isinstance(stderr, int | float) else None


def _ends(value: float, stderr: float | None) -> Cell:
    if stderr is None or not math.isfinite(stderr):
        return Cell(NO_INTERVAL)
    half = NORMAL_95 * stderr
    return Cell(f"{number(value - half)} to {number(value + half)}", 2 * half)


def _direction(task: TaskResult, metric: str) -> str:
    better = (task.file.content.get("higher_is_better") or {}).get(task.name, {})
    return {True: "higher", False: "lower"}.get(better.get(metric.split(" (")[0]), "–")


def _documents(task: TaskResult) -> Cell:
    count = ((task.file.content.get("n-samples") or {}).get(task.name) or {}).get("effective")
    return Cell("–" if count is None else f"{count:,}", count)


def task_key(task: TaskResult) -> list[KeyFigure]:
    """The task's first metric, or CIDEr where it is a captioning task; nothing where it has no number."""
    metrics = sorted(metrics_of(task), key=lambda found: "CIDEr" not in found[0])
    if not metrics:
        return []
    metric, value, stderr = metrics[0]
    beside = (
        f"95 % interval {_ends(value, stderr).text}" if stderr is not None else NO_INTERVAL,
        f"N = {_documents(task).text} documents",
    )
    return [KeyFigure(f"{task.name} {metric}", number(value), beside)]
