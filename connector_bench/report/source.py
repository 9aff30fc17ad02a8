"""Which of lmms-eval's files one report is made of: the latest result of every task of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from connector_bench.report.estimates import scores_of
from connector_bench.results.harness_files import (
    ResultFile,
    UnusableResult,
    as_file_name,
    read_results,
)
from connector_bench.stats.intervals import Score

PRESERVATION, RECONSTRUCTION = "knn_preservation", "patch_reconstruction"


@dataclass(frozen=True)
class TaskResult:
    """One task of one result file."""

    name: str
    file: ResultFile
    record: Mapping[str, Any]
    """Ours; empty for an ordinary task."""

    @property
    def measure(self) -> str | None:
        """Which of our measures this is; None for an ordinary task."""
        return str(self.record.get("measure", PRESERVATION)) if self.record else None

    @property
    def anchor(self) -> str:
        """The name as it may stand in an address or a file name; tasks of different names differ in it."""
        return as_file_name(self.name)

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What lmms-eval aggregated, under its own keys."""
        found: Mapping[str, Any] = self.file.content["results"].get(self.name, {})
        return found

    @cached_property
    def scores(self) -> Mapping[str, Score]:
        """The record's scores with their intervals."""
        return scores_of(self.record)

    @cached_property
    def documents(self) -> tuple[Mapping[str, Any], ...] | None:
        """The logged documents; None where the run had no `--log_samples`. UnusableResult for a broken file."""
        if not self.file.samples_path(self.name).is_file():
            return None
        return tuple(self.file.samples(self.name))

    def column(self, figure: str) -> Float[np.ndarray, " n"]:
        """One figure of every document that has it; empty without documents."""
        values = (row.get(figure) for row in self.documents or ())
        return np.array([value for value in values if isinstance(value, int | float)], dtype=np.float64)


@dataclass(frozen=True)
class ModelResults:
    """Everything a report tells of one model."""

    model: str
    tasks: tuple[TaskResult, ...]
    failed: Mapping[str, str]
    """Tasks of ours that gave no figures, and why."""

    def of(self, measure: str | None) -> tuple[TaskResult, ...]:
        """The tasks of one measure, or the ordinary ones."""
        return tuple(task for task in self.tasks if task.measure == measure)

    @cached_property
    def connector(self) -> Mapping[str, Any] | None:
        """What the latest record says of the connector; None where no task of ours ran."""
        return next((t.record["connector"] for t in reversed(self.tasks) if "connector" in t.record), None)

    @cached_property
    def files(self) -> tuple[ResultFile, ...]:
        """The result files that tasks were taken from, in order."""
        return tuple({task.file.path: task.file for task in self.tasks}.values())


def read_model(paths: Sequence[Path], model: str | None = None) -> ModelResults:
    """The results below these paths, of the model named where there are several.

    Of a task that was run more than once the latest run counts. Raises UnusableResult for files that are no result
    files, for several models without a choice, for a model that is not there, and for one name with two sets of
    connector weights.
    """
    files = read_results(paths)
    by_model: dict[str, list[ResultFile]] = {}
    for file in files:
        by_model.setdefault(file.model, []).append(file)
    chosen = _chosen(by_model, model)
    tasks: dict[str, TaskResult] = {}
    for file in by_model[chosen]:
        for name in file.tasks:
            tasks.pop(name, None)
            tasks[name] = TaskResult(name, file, file.records.get(name, {}))
    failed = {name: str(task.record["error"]) for name, task in tasks.items() if "error" in task.record}
    good = tuple(task for name, task in tasks.items() if name not in failed)
    _require_one_connector(chosen, good)
    return ModelResults(chosen, good, failed)


def _chosen(by_model: Mapping[str, Sequence[ResultFile]], wanted: str | None) -> str:
    names = ", ".join(sorted(by_model))
    if wanted is not None and wanted not in by_model:
        raise UnusableResult(f"no results of a model {wanted!r}; there are: {names}")
    if wanted is None and len(by_model) > 1:
        raise UnusableResult(f"results of {len(by_model)} models; choose one with --model: {names}")
    return wanted if wanted is not None else next(iter(by_model))


def _require_one_connector(model: str, tasks: Sequence[TaskResult]) -> None:
    weights = {t.record["connector"]["weights_sha256"]: t for t in tasks if "connector" in t.record}
    weights.pop(None, None)
    if len(weights) > 1:
        sides = ", ".join(f"{key[:12]} in {task.file.path.name}" for key, task in weights.items())
        raise UnusableResult(
            f"{model}: results of different connector weights do not make one report: {sides}"
        )
