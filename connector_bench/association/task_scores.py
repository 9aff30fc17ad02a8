"""Per-document scores as lmms-eval's tasks left them in their sample rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connector_bench.association.captions import caption_scores, is_caption_metric
from connector_bench.results.tasks import TaskRun

INNER = ("score", "accuracy", "acc", "correct", "overall")
"""Where a metric's entry is an object with its details: the fields that hold the document's own score."""


@dataclass(frozen=True)
class TaskScores:
    """A task's metrics, a value a document that has one."""

    values: Mapping[str, Mapping[int, float]]
    higher_is_better: Mapping[str, bool]
    notes: Mapping[str, str]
    """By metric: why it has no value a document, or how its values were made."""


def read_scores(task: TaskRun) -> TaskScores:
    """Numbers as they stand, the score inside an object, CIDEr of each caption; other metrics get a note.

    Raises UnusableResult as `TaskRun.documents`.
    """
    values: dict[str, dict[int, float]] = {}
    notes: dict[str, str] = {}
    for metric in task.metric_columns:
        entries = {
            doc_id: row.columns[metric]
            for doc_id, row in task.documents.items()
            if row.columns.get(metric) is not None
        }
        numbers = {doc_id: _number(entry, metric) for doc_id, entry in entries.items()}
        found = {doc_id: number for doc_id, number in numbers.items() if number is not None}
        if not found and is_caption_metric(metric, entries.values()):
            found, notes[metric] = caption_scores(entries)
        if found:
            values[metric] = found
        elif entries:
            notes[metric] = "the samples hold no number a document, only what the task's aggregation needs"
    better = task.higher_is_better
    return TaskScores(values, {metric: better.get(metric) is not False for metric in values}, notes)


def _number(entry: Any, metric: str) -> float | None:
    if isinstance(entry, Mapping):
        inner = (entry[name] for name in (metric, *INNER) if name in entry)
        entry = next(inner, None)
    if isinstance(entry, int | float) and math.isfinite(entry):
        return float(entry)
    return None
