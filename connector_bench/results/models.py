"""All runs of a model, and the latest run of each of its tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from connector_bench.results.harness_files import ResultFile
from connector_bench.results.tasks import TaskRun

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ModelRuns:
    """All runs of one model, oldest first."""

    model: str
    runs: tuple[ResultFile, ...]

    @cached_property
    def latest(self) -> Mapping[str, TaskRun]:
        """The latest run of every task, in the order in which they ran."""
        found: dict[str, TaskRun] = {}
        for run in self.runs:
            for name in run.tasks:
                found.pop(name, None)
                found[name] = TaskRun(run, name)
        return found

    @property
    def tasks(self) -> tuple[TaskRun, ...]:
        """The latest run of every task that did not fail."""
        return tuple(task for task in self.latest.values() if task.error is None)

    @property
    def failed(self) -> Mapping[str, str]:
        """Tasks of ours whose latest run gave no figures, and why."""
        return {name: task.error for name, task in self.latest.items() if task.error is not None}

    def of(self, measure: str | None) -> tuple[TaskRun, ...]:
        """The tasks of one measure, or the ordinary ones."""
        return tuple(task for task in self.tasks if task.measure == measure)

    @property
    def connector(self) -> Mapping[str, Any] | None:
        """What the latest record says of the connector; None where no task of ours ran."""
        return next((t.record["connector"] for t in reversed(self.tasks) if "connector" in t.record), None)

    @property
    def files(self) -> tuple[ResultFile, ...]:
        """The result files that tasks are taken from, in order."""
        return tuple({task.file.path: task.file for task in self.tasks}.values())

    def to_pandas(self) -> pd.DataFrame:
        """A row a figure of the latest runs: model, task, metric, value, stderr, date."""
        import pandas as pd

        rows = (
            (self.model, task.name, metric.name, metric.value, metric.stderr, task.file.date)
            for task in self.tasks
            for metric in task.metrics
        )
        return pd.DataFrame(rows, columns=["model", "task", "metric", "value", "stderr", "date"])


def models_of(runs: Iterable[ResultFile]) -> dict[str, ModelRuns]:
    """The runs of every model, as `read_results` named and ordered them."""
    found: dict[str, list[ResultFile]] = {}
    for run in runs:
        found.setdefault(run.model, []).append(run)
    return {model: ModelRuns(model, tuple(theirs)) for model, theirs in found.items()}
