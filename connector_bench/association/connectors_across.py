"""What is known of each model as a whole, from lmms-eval's result files or from a leaderboard's committed runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from connector_bench.leaderboard.board_files import is_the_same_run, name_on_board, stored_runs
from connector_bench.leaderboard.schema import StoredRun
from connector_bench.results.data_sets import data_sets_of
from connector_bench.results.harness_files import ResultFile
from connector_bench.results.tasks import TaskRun, most_tokens

Group = Literal["trained", "isometry", "untrained"]

ZOO = "connector_zoo"
ISOMETRIES = ("identity", "rotation")
UNTRAINED = "untrained_"


@dataclass(frozen=True)
class MeasuredTask:
    """One task's figures over its whole data set, in one run of one model."""

    model: str
    family: str
    weights: str | None
    date: str
    task: str
    data_sets: frozenset[str]
    """All names of the data; tasks that share one read the same."""
    documents: str
    """What two models' figures must share to be compared: how many documents, and which pictures where known."""
    measures_connector: bool
    figures: Mapping[str, float]
    parameters: int | None = None
    """Of the connector, as are the most `tokens` of an image behind it; None where the run did not record them."""
    tokens: int | None = None


@dataclass(frozen=True)
class Measured:
    """One model: one connector at one seed."""

    model: str
    connector: str
    """The model's name without the seed, which is what several seeds share."""
    group: Group
    tasks: Mapping[str, MeasuredTask]

    def size(self, of: Literal["parameters", "tokens"]) -> int | None:
        """The connector's parameters, or its most tokens of an image, as the latest run says that recorded them."""
        known = [
            (task.date, value) for task in self.tasks.values() if (value := getattr(task, of)) is not None
        ]
        return max(known)[1] if known else None


def measured(runs: Sequence[ResultFile], boards: Sequence[Path] = ()) -> tuple[Measured, ...]:
    """Models of result files and leaderboards; of a task that ran twice, wherever it is found, the later run counts.

    A run that a board holds too is taken from there. Two sets of connector weights under one name are two models.
    Raises UnusableResult naming a run of a board that does not hold to the schema.
    """
    stored = [run for board in boards for run in stored_runs(board)]
    parts = (
        *(part for run in stored for part in _of_board(run)),
        *(part for run in runs for part in _of_file(run, stored)),
    )
    found = sorted(parts, key=lambda part: part.date)
    weights: dict[str, dict[str, None]] = {}
    for part in found:
        weights.setdefault(part.model, {}).update({part.weights: None} if part.weights else {})
    models: dict[tuple[str, str | None], dict[str, MeasuredTask]] = {}
    for part in found:
        (only, *others) = weights[part.model] or [None]
        models.setdefault((part.model, part.weights if others else only), {})[part.task] = part
    return tuple(
        _model(name if len(weights[name]) < 2 else f"{name} ({key[:8] if key else 'no record'})", parts)
        for (name, key), parts in models.items()
    )


def _of_board(run: StoredRun) -> Iterator[MeasuredTask]:
    connector = run.connector
    family, weights = (connector.family, connector.weights_sha256) if connector else ("", None)
    for task, result in run.tasks.items():
        shared = result.comparable
        yield MeasuredTask(
            *(run.model, family, weights, run.provenance.date, task, data_sets_of(task, shared.version)),
            documents=_documents(shared.n, shared.images_sha256),
            measures_connector=shared.protocol is not None,
            figures={metric: figure.value for metric, figure in result.figures.items()},
            parameters=connector.parameters if connector else None,
            tokens=connector.tokens if connector else None,
        )


def _of_file(run: ResultFile, stored: Sequence[StoredRun]) -> Iterator[MeasuredTask]:
    """The tasks of a file that no run on a board has, under the name that the board has for their model."""
    same = [one for one in stored if is_the_same_run(one, run)]
    held = {task for one in same for task in one.tasks}
    model = same[-1].model if same else name_on_board(run, stored)
    family = next((r.get("connector", {}).get("family", "") for r in run.records.values()), "")
    for task in (TaskRun(run, name) for name in run.tasks if name not in held):
        if task.config and task.error is None:
            yield MeasuredTask(
                *(model, family, run.weights, run.date, task.name, task.data_sets),
                documents=_documents(task.n, task.record.get("images_sha256")),
                measures_connector=bool(task.record),
                figures=task.figures,
                parameters=(task.record.get("connector") or {}).get("parameters"),
                tokens=most_tokens(task.record),
            )


def _model(name: str, parts: Mapping[str, MeasuredTask]) -> Measured:
    family = next((part.family for part in reversed(list(parts.values())) if part.family), "")
    return Measured(name, *_connector(name, family), parts)


def is_board(path: Path) -> bool:
    """Whether a folder is a leaderboard: its runs are JSON files of their own below `results/`."""
    runs = (path / "results").glob("*.json")
    return any(not run.name.endswith("_results.json") for run in runs)


def _documents(n: int | None, images_sha256: str | None) -> str:
    return f"{n} documents" if images_sha256 is None else f"{n} images {images_sha256[:12]}"


def _connector(model: str, family: str) -> tuple[str, Group]:
    """The zoo's names say seed and group; any other model is one trained connector."""
    if family != ZOO and not model.startswith(f"{ZOO}/"):
        return model, "trained"
    name = re.sub(r"-seed\d+$", "", model.removeprefix(f"{ZOO}/"))
    if name.removeprefix(UNTRAINED) in ISOMETRIES:
        return name, "isometry"
    return name, "untrained" if name.startswith(UNTRAINED) else "trained"
