"""Documents of a task as lmms-eval's sample files have them, and what makes two of them the same document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from connector_bench.results.conditions import conditions_of, differing
from connector_bench.results.harness_files import UnusableResult, called_apart, read_results
from connector_bench.results.models import ModelRuns, models_of
from connector_bench.results.names import told_apart
from connector_bench.results.tasks import SampleRow, TaskRun, numbers


@dataclass(frozen=True)
class ComparedRow:
    """One document of one side."""

    target: str
    prompt: str
    image: str
    """Hash of its picture where the task is ours; else what the row says of its image; else the document itself."""
    figures: Mapping[str, float]
    """By column of the sample file."""


@dataclass(frozen=True)
class Documents:
    """All documents of one task in one run, by their number."""

    model: str
    of: TaskRun
    rows: Mapping[int, ComparedRow]

    @property
    def ours(self) -> bool:
        """Whether the task measures a connector."""
        return bool(self.of.record)

    @property
    def figures(self) -> dict[str, float]:
        """The run's own figures, over all documents."""
        return self.of.figures

    @cached_property
    def columns(self) -> Mapping[str, str]:
        """By metric: the column of the sample file that it was made of."""
        return {metric.name: metric.column for metric in self.of.metrics}

    def higher_is_better(self, metric: str) -> bool | None:
        """Which way a metric points, as lmms-eval says."""
        return self.of.higher_is_better.get(self.columns[metric])

    def interval(self, metric: str) -> tuple[float, float] | None:
        """The interval that the run recorded."""
        score = self._score(metric)
        low, high = score.get("low"), score.get("high")
        return None if low is None or high is None else (float(low), float(high))

    def halvings(self, metric: str) -> Sequence[float]:
        """Differences between disjoint halves of the images, where the run recorded them."""
        found: Sequence[float] = self._score(metric).get("halving_gaps") or ()
        return found

    @property
    def drawn_together(self) -> Mapping[str, Any]:
        """By what, how many groups and which; empty where every image was drawn by itself."""
        return self.of.record.get("drawn_together") or {}

    def _score(self, metric: str) -> Mapping[str, Any]:
        return (self.of.record.get("scores") or {}).get(metric) or {}


@dataclass(frozen=True)
class ComparisonSide:
    """A model, and the latest run of each of its tasks."""

    model: str
    path: Path
    tasks: Mapping[str, TaskRun]
    chosen: str | None = None
    """The model as it was named where the folder holds several."""

    @property
    def address(self) -> str:
        """What it was named by: a folder or file, and the model in it where there are several."""
        return address(self.path, self.chosen)

    def documents(self, task: str) -> Documents:
        """A task's documents. Raises UnusableResult where the run kept no samples or they are broken."""
        of = self.tasks[task]
        if of.error is not None:
            raise UnusableResult(f"{of.file.path}: {task} failed: {of.error}")
        answers = of.answers if of.record else {}
        rows = {number: _compared(row, answers.get(number, {})) for number, row in of.documents.items()}
        return Documents(self.model, of, rows)


def failed_on(sides: Sequence[ComparisonSide], task: str) -> str | None:
    """A sentence where a task gave no figures on one of the sides, None where it did on all."""
    for side in sides:
        if (error := side.tasks[task].error) is not None:
            return f"{task} failed in {side.path}: {error}"
    return None


def model_in(path: Path, chosen: str | None = None) -> ModelRuns:
    """What a folder or a result file holds of one model.

    `chosen` is its name, or a part of it that no other model there has. Raises UnusableResult where that is no model or
    several.
    """
    models = models_of(read_results([path]))
    names = ", ".join(sorted(models))
    if chosen is None and len(models) > 1:
        raise UnusableResult(
            f"{path}: holds {len(models)} models ({names}); name one as {path}:MODEL or with --model, or its folder or "
            "file"
        )
    if chosen is None:
        return next(iter(models.values()))
    fitting = [name for name in models if name == chosen] or [name for name in models if chosen in name]
    if len(fitting) != 1:
        what = f"fits {', '.join(sorted(fitting))}" if fitting else f"is no model there; there are {names}"
        raise UnusableResult(f"{path}: {chosen} {what}")
    return models[fitting[0]]


def side_of(path: Path, chosen: str | None = None) -> ComparisonSide:
    """A side of a comparison: the model that `model_in` finds, and what it raises."""
    found = model_in(path, chosen)
    return ComparisonSide(found.model, path, found.latest, chosen)


def models_there(path: Path) -> list[str]:
    """Names of the models in a folder or file. UnusableResult where there is none."""
    return sorted(models_of(read_results([path])))


def address(path: Path, chosen: str | None) -> str:
    """`FOLDER`, or `FOLDER:MODEL`."""
    return str(path) if chosen is None else f"{path}:{chosen}"


def addressed(text: str) -> tuple[Path, str | None]:
    """Folder or file, and model, of `FOLDER` or `FOLDER:MODEL`; names of both may hold colons."""
    if not Path(text).exists():
        for place in (place for place, sign in enumerate(text) if sign == ":"):
            if Path(text[:place]).exists() and text[place + 1 :]:
                return Path(text[:place]), text[place + 1 :]
    return Path(text), None


def named_apart(sides: Sequence[ComparisonSide], labels: Mapping[str, str]) -> list[ComparisonSide]:
    """The sides under their labels, else their checkpoints' names, with the run's folder where two share one."""
    files = called_apart([next(iter(side.tasks.values())).file for side in sides])
    names = [labels.get(side.address) or file.model for side, file in zip(sides, files, strict=True)]
    folders = told_apart({str(side.path.absolute()) for side in sides})
    return [
        replace(
            side,
            model=f"{name} ({folders[str(side.path.absolute())]})"
            if names.count(name) > 1 and side.address not in labels
            else name,
        )
        for side, name in zip(sides, names, strict=True)
    ]


def require_same_documents(first: Documents, second: Documents, task: str) -> None:
    """Raises UnusableResult, naming both sides and the first document that differs, where the data is not the same.

    Prompts may differ as a whole, since wrappers write their own; a prompt that differs for some documents alone is
    another question.
    """
    names = f"{first.of.file.path} and {second.of.file.path}"
    if first.rows.keys() != second.rows.keys():
        missing = sorted(first.rows.keys() ^ second.rows.keys())
        raise UnusableResult(
            f"{task}: {names} hold {len(first.rows)} and {len(second.rows)} documents; document {missing[0]} is in one "
            "of them alone"
        )
    changed = [number for number, row in first.rows.items() if row.prompt != second.rows[number].prompt]
    for number, row in first.rows.items():
        other = second.rows[number]
        for what in ("target", "image"):
            if getattr(row, what) != getattr(other, what):
                raise UnusableResult(f"{task}: {names}: document {number} has another {what}")
    if changed and len(changed) < len(first.rows):
        raise UnusableResult(f"{task}: {names}: document {changed[0]} asks something else")


def conditions_apart(first: Documents, second: Documents, task: str) -> str | None:
    """Why two results of a task cannot be compared, both sides named; None where they can."""
    pairs = differing(conditions_of(first.of), conditions_of(second.of))
    sides = "; ".join(f"{name}: {a} against {b}" for name, (a, b) in pairs.items())
    return (
        f"{task}: {first.of.file.path} and {second.of.file.path} are not comparable ({sides})"
        if sides
        else None
    )


def _compared(row: SampleRow, answer: Mapping[str, Any]) -> ComparedRow:
    given = {**answer, **row.columns}
    return ComparedRow(
        target=json.dumps(row.target, default=str),
        prompt=row.input,
        image=str(answer.get("image") or given.get("image_id") or f"document {row.doc_id}"),
        figures=numbers(given),
    )
