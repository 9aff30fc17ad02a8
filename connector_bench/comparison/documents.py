"""Documents of a task as lmms-eval's sample files have them, and what makes two of them the same document."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from connector_bench.results.conditions import conditions_of, differing
from connector_bench.results.harness_files import ResultFile, UnusableResult, called_apart, read_results
from connector_bench.results.names import told_apart


@dataclass(frozen=True)
class Document:
    """One row of a sample file."""

    target: str
    prompt: str
    image: str
    """Hash of its picture where the task is ours; else what the row says of its image; else the document itself."""
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Documents:
    """All documents of one task in one run, by their number."""

    model: str
    where: Path
    rows: Mapping[str, Document]
    figures: Mapping[str, float]
    """The run's own figures, over all documents."""
    higher_is_better: Mapping[str, bool | None]
    intervals: Mapping[str, tuple[float, float]]
    """By metric: the interval that the run recorded."""
    halvings: Mapping[str, Sequence[float]]
    """By metric: differences between disjoint halves of the images, where the run recorded them."""
    ours: bool
    conditions: Mapping[str, object]
    """How a task of ours was measured."""


@dataclass(frozen=True)
class Measured:
    """One side of a comparison: a model, and the latest run of each of its tasks."""

    model: str
    path: Path
    runs: Mapping[str, ResultFile]

    def documents(self, task: str) -> Documents:
        """A task's documents. Raises UnusableResult where the run kept no samples or they are broken."""
        return _documents(self.runs[task], self.model, task)


def measured(path: Path) -> Measured:
    """What a folder or a result file holds. Raises UnusableResult where that is more than one model, or nothing."""
    files = read_results([path])
    models = sorted({file.model for file in files})
    if len(models) > 1:
        raise UnusableResult(
            f"{path}: holds {len(models)} models ({', '.join(models)}); name one's folder or file"
        )
    return Measured(models[0], path, {task: file for file in files for task in file.tasks})


def named_apart(sides: Sequence[Measured], labels: Mapping[Path, str]) -> list[Measured]:
    """The sides under names of their own: their label, else their checkpoint, with the run's folder where two share it.

    Raises ValueError for a label of a run that is no side.
    """
    if strange := [path for path in labels if path not in [side.path for side in sides]]:
        raise ValueError(
            f"--label names {strange[0]}, which is not among the runs: {', '.join(str(s.path) for s in sides)}"
        )
    files = called_apart([next(iter(side.runs.values())) for side in sides])
    names = [labels.get(side.path) or file.model for side, file in zip(sides, files, strict=True)]
    folders = told_apart({str(side.path.absolute()) for side in sides})
    return [
        replace(
            side,
            model=f"{name} ({folders[str(side.path.absolute())]})"
            if names.count(name) > 1 and side.path not in labels
            else name,
        )
        for side, name in zip(sides, names, strict=True)
    ]


def require_same_documents(first: Documents, second: Documents, task: str) -> None:
    """Raises UnusableResult, naming both sides and the first document that differs, where the data is not the same.

    Prompts may differ as a whole, since wrappers write their own; a prompt that differs for some documents alone is
    another question.
    """
    names = f"{first.where} and {second.where}"
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
    pairs = differing(first.conditions, second.conditions)
    sides = "; ".join(f"{name}: {a} against {b}" for name, (a, b) in pairs.items())
    return f"{task}: {first.where} and {second.where} are not comparable ({sides})" if sides else None


def _documents(file: ResultFile, model: str, task: str) -> Documents:
    record = file.records.get(task, {})
    if isinstance(record, Mapping) and "error" in record:
        raise UnusableResult(f"{file.path}: {task} failed: {record['error']}")
    rows = {}
    for row in file.samples(task):
        rows[str(row.get("doc_id"))] = _document(row, ours=bool(record))
    if not rows:
        raise UnusableResult(f"{file.samples_path(task)}: no documents")
    scores = {m: s for m, s in (record.get("scores") or {}).items() if isinstance(s, Mapping)}
    return Documents(
        model=model,
        where=file.path,
        rows=rows,
        figures=_figures(file.content["results"].get(task)),
        higher_is_better=(file.content.get("higher_is_better") or {}).get(task) or {},
        intervals={
            metric: (float(score["low"]), float(score["high"]))
            for metric, score in scores.items()
            if score.get("low") is not None and score.get("high") is not None
        },
        halvings={m: score["halving_gaps"] for m, score in scores.items() if score.get("halving_gaps")},
        ours=bool(record),
        conditions=conditions_of(file, task),
    )


def _document(row: Mapping[str, Any], ours: bool) -> Document:
    given: dict[str, Any] = dict(row)
    if ours:
        try:
            given = json.loads(row.get("filtered_resps", "{}")) | given
        except (TypeError, ValueError, RecursionError):
            given = dict(row)
    image = given.get("image") if ours else None
    return Document(
        target=json.dumps(row.get("target"), default=str),
        prompt=str(row.get("input")),
        image=str(image or given.get("image_id") or f"document {row.get('doc_id')}"),
        figures={
            name: float(value)
            for name, value in given.items()
            if name != "doc_id"
            and isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
        },
    )


def _figures(results: object) -> dict[str, float]:
    if not isinstance(results, Mapping):
        return {}
    return {
        key.removesuffix(",none"): float(value)
        for key, value in results.items()
        if key.endswith(",none")
        and "_stderr" not in key
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    }
