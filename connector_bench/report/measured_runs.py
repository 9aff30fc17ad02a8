"""Which of lmms-eval's files one report is made of: the latest result of every task, of one model or of a few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from connector_bench.comparison.compared_runs import addressed, model_in
from connector_bench.results.harness_files import UnusableResult, read_results
from connector_bench.results.models import ModelRuns, models_of
from connector_bench.results.names import told_apart
from connector_bench.results.tasks import TaskRun

MOST = 6
"""Models that one page sets side by side."""


def read_models(named: Sequence[str], models: Sequence[str] = ()) -> list[ModelRuns]:
    """The results below folders and files, some as `FOLDER:MODEL`, of the `models` named where there are several.

    They come as they are named. Of a task that was run more than once the latest run counts. Raises UnusableResult for
    files that are no result files, for a model that is not there, for more than `MOST` models, and for one name with
    two sets of connector weights.
    """
    places = [addressed(text) for text in named]
    placed = [
        (place, path, model_in(path, chosen))
        for place, (path, chosen) in enumerate(places)
        if chosen is not None
    ]
    if whole := {place: path for place, (path, chosen) in enumerate(places) if chosen is None}:
        there = models_of(read_results(list(whole.values())))
        for one in (there[name] for name in _chosen(there, models)):
            place = min(whole) if models else _first_place(one, whole)
            placed.append((place, whole[place], one))
    found = [(path, one) for _, path, one in sorted(placed, key=lambda each: each[0])]
    if len(found) > MOST:
        raise UnusableResult(f"results of {len(found)} models are named, and a page has room for {MOST}")
    for _, one in found:
        _require_one_connector(one.model, one.tasks)
    return _named_apart(found)


def _first_place(one: ModelRuns, whole: Mapping[int, Path]) -> int:
    """The first of these folders and files that holds a result of the model: columns stand as they were named."""
    files = {parent for file in one.files for parent in (file.path, *file.path.parents)}
    return next((place for place, path in whole.items() if path in files), min(whole))


def _named_apart(found: Sequence[tuple[Path, ModelRuns]]) -> list[ModelRuns]:
    """The models, with their folder where two runs of one model were named."""
    names = Counter(one.model for _, one in found)
    folders = told_apart({str(path.absolute()) for path, _ in found})
    return [
        one if names[one.model] == 1 else replace(one, model=f"{one.model} ({folders[str(path.absolute())]})")
        for path, one in found
    ]


def read_model(paths: Sequence[Path], model: str | None = None) -> ModelRuns:
    """As `read_models`, of exactly one model. Raises UnusableResult for several as well."""
    found = read_models([str(path) for path in paths], [] if model is None else [model])
    if len(found) > 1:
        names = ", ".join(sorted(one.model for one in found))
        raise UnusableResult(f"results of {len(found)} models; choose one with --model: {names}")
    return found[0]


def _chosen(there: Mapping[str, ModelRuns], wanted: Sequence[str]) -> list[str]:
    names = ", ".join(sorted(there))
    if absent := [name for name in wanted if name not in there]:
        raise UnusableResult(f"no results of a model {absent[0]!r}; there are: {names}")
    chosen = list(dict.fromkeys(wanted)) or list(there)
    if len(chosen) > MOST:
        raise UnusableResult(
            f"results of {len(chosen)} models, and a page has room for {MOST}; choose with --model: {names}"
        )
    return chosen


def _require_one_connector(model: str, tasks: Sequence[TaskRun]) -> None:
    weights = {t.record["connector"]["weights_sha256"]: t for t in tasks if "connector" in t.record}
    weights.pop(None, None)
    if len(weights) > 1:
        sides = ", ".join(f"{key[:12]} in {task.file.path.name}" for key, task in weights.items())
        raise UnusableResult(
            f"{model}: results of different connector weights do not make one report: {sides}"
        )
