"""What is known of each model as a whole, from lmms-eval's result files or from a leaderboard's committed runs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from connector_bench.association.data_sets import data_set_of as defined_data_set
from connector_bench.association.sides import data_set_of as configured_data_set
from connector_bench.results.harness_files import ResultFile

Group = Literal["trained", "isometry", "untrained"]

ZOO = "connector_zoo"
ISOMETRIES = ("identity", "rotation")
UNTRAINED = "untrained_"


@dataclass(frozen=True)
class MeasuredTask:
    """One task's figures over its whole data set."""

    data_set: str
    documents: str
    """What two models' figures must share to be compared: how many documents, and which pictures where known."""
    measures_connector: bool
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Measured:
    """One model: one connector at one seed."""

    model: str
    connector: str
    """The model's name without the seed, which is what several seeds share."""
    group: Group
    tasks: Mapping[str, MeasuredTask]


def from_results(runs: Sequence[ResultFile]) -> tuple[Measured, ...]:
    """Models of result files; of a task that ran twice the later run counts."""
    found: dict[str, dict[str, MeasuredTask]] = {}
    families: dict[str, str] = {}
    for run in sorted(runs, key=lambda run: str(run.content.get("date", ""))):
        records = run.records
        for task in run.tasks:
            if task in (run.content.get("configs") or {}) and "error" not in records.get(task, {}):
                found.setdefault(run.model, {})[task] = _from_result(run, task)
        for record in records.values():
            families[run.model] = record.get("connector", {}).get("family", "")
    return _measured((model, families.get(model, ""), tasks) for model, tasks in found.items())


def from_board(board: Path) -> tuple[Measured, ...]:
    """Models of a leaderboard folder. Raises UnusableResult naming a run that does not hold to the schema."""
    from connector_bench.leaderboard.store import stored_runs

    found: dict[str, dict[str, MeasuredTask]] = {}
    families: dict[str, str] = {}
    for run in stored_runs(board):
        for task, result in run.tasks.items():
            shared = result.comparable
            found.setdefault(run.model, {})[task] = MeasuredTask(
                defined_data_set(task),
                _documents(shared.n, shared.images_sha256),
                shared.protocol is not None,
                {metric: figure.value for metric, figure in result.figures.items()},
            )
        if run.connector is not None:
            families[run.model] = run.connector.family
    return _measured((model, families.get(model, ""), tasks) for model, tasks in found.items())


def is_board(path: Path) -> bool:
    """Whether a folder is a leaderboard: its runs are JSON files of their own below `results/`."""
    runs = (path / "results").glob("*.json")
    return any(not run.name.endswith("_results.json") for run in runs)


def _from_result(run: ResultFile, task: str) -> MeasuredTask:
    record = run.records.get(task, {})
    samples = (run.content.get("n-samples") or {}).get(task, {})
    figures: dict[str, float] = {}
    for key, value in run.content["results"][task].items():
        metric, _, kind = key.partition(",")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind and "_stderr" not in metric and number and math.isfinite(value):
            figures.setdefault(metric, float(value))
    return MeasuredTask(
        configured_data_set(run, task),
        _documents(record.get("n_images") or samples.get("effective"), record.get("images_sha256")),
        task in run.records,
        figures,
    )


def _documents(n: int | None, images_sha256: str | None) -> str:
    return f"{n} documents" if images_sha256 is None else f"{n} images {images_sha256[:12]}"


def _measured(models: Iterable[tuple[str, str, Mapping[str, MeasuredTask]]]) -> tuple[Measured, ...]:
    return tuple(Measured(model, *_connector(model, family), tasks) for model, family, tasks in models)


def _connector(model: str, family: str) -> tuple[str, Group]:
    """The zoo's names say seed and group; any other model is one trained connector."""
    if family != ZOO and not model.startswith(f"{ZOO}/"):
        return model, "trained"
    name = re.sub(r"-seed\d+$", "", model.removeprefix(f"{ZOO}/"))
    if name.removeprefix(UNTRAINED) in ISOMETRIES:
        return name, "isometry"
    return name, "untrained" if name.startswith(UNTRAINED) else "trained"
