"""Which of lmms-eval's files one report is made of: the latest result of every task of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from connector_bench.results.harness_files import UnusableResult, read_results
from connector_bench.results.models import ModelRuns, models_of
from connector_bench.results.tasks import TaskRun


def read_model(paths: Sequence[Path], model: str | None = None) -> ModelRuns:
    """The results below these paths, of the model named where there are several.

    Of a task that was run more than once the latest run counts. Raises UnusableResult for files that are no result
    files, for several models without a choice, for a model that is not there, and for one name with two sets of
    connector weights.
    """
    models = models_of(read_results(paths))
    chosen = models[_chosen(models, model)]
    _require_one_connector(chosen.model, chosen.tasks)
    return chosen


def _chosen(by_model: Mapping[str, ModelRuns], wanted: str | None) -> str:
    names = ", ".join(sorted(by_model))
    if wanted is not None and wanted not in by_model:
        raise UnusableResult(f"no results of a model {wanted!r}; there are: {names}")
    if wanted is None and len(by_model) > 1:
        raise UnusableResult(f"results of {len(by_model)} models; choose one with --model: {names}")
    return wanted if wanted is not None else next(iter(by_model))


def _require_one_connector(model: str, tasks: Sequence[TaskRun]) -> None:
    weights = {t.record["connector"]["weights_sha256"]: t for t in tasks if "connector" in t.record}
    weights.pop(None, None)
    if len(weights) > 1:
        sides = ", ".join(f"{key[:12]} in {task.file.path.name}" for key, task in weights.items())
        raise UnusableResult(
            f"{model}: results of different connector weights do not make one report: {sides}"
        )
