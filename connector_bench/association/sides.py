"""The two sides of a join, read from one run's result and sample files."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from connector_bench.association.figures import of_a_question
from connector_bench.association.task_scores import TaskScores, metrics, read_scores
from connector_bench.results.data_sets import configured_data_set
from connector_bench.results.harness_files import ResultFile, UnusableResult

HARNESS_COLUMNS = frozenset(
    ("doc_id", "target", "input", "filtered_resps", "resps", "token_counts", "doc_hash", "input_media")
)
"""What lmms-eval writes into every sample row; further columns are metrics or come from the task."""


@dataclass(frozen=True)
class Document:
    """What identifies a document of a task."""

    target: str
    input: str
    keys: Mapping[str, str]
    """Columns of the task that are no metrics, such as `image_id`."""


@dataclass(frozen=True)
class ConnectorSide:
    """One connector task of one run: figures of every document whose picture was read."""

    run: ResultFile
    task: str
    data_set: str
    weights: str | None
    documents: Mapping[int, Document]
    image_of: Mapping[int, str]
    figures: Mapping[int, Mapping[str, float]]
    """Complete for every document: those of its image stand on each document of that image."""


@dataclass(frozen=True)
class ScoredSide:
    """One other task of one run: its own metrics, a value a document."""

    run: ResultFile
    task: str
    data_set: str
    weights: str | None
    documents: Mapping[int, Document]
    scores: TaskScores


def connector_side(run: ResultFile, task: str) -> ConnectorSide:
    """Read a connector task. Raises UnusableResult naming the file where it failed or has no usable samples."""
    record = run.records[task]
    if "error" in record:
        raise UnusableResult(f"{run.path}: {task} failed: {record['error']}")
    rows = _rows(run, task)
    answers = {doc_id: _answer(run, task, row) for doc_id, row in rows.items()}
    image_of = {doc_id: str(answer["image"]) for doc_id, answer in answers.items() if "image" in answer}
    of_image = {
        image_of[doc_id]: _numbers(answer, question=False)
        for doc_id, answer in answers.items()
        if doc_id in image_of and "same_image_as" not in answer
    }
    figures = {}
    for doc_id, image in image_of.items():
        if image not in of_image:
            raise UnusableResult(
                f"{run.samples_path(task)}: document {doc_id} shows the image of document "
                f"{answers[doc_id]['same_image_as']}, which is not in the file"
            )
        figures[doc_id] = {**of_image[image], **_numbers(answers[doc_id], question=True)}
    documents = {doc_id: _document(row, HARNESS_COLUMNS) for doc_id, row in rows.items()}
    return ConnectorSide(
        run,
        task,
        configured_data_set(run.content["configs"][task]),
        run.weights,
        documents,
        image_of,
        figures,
    )


def scored_side(run: ResultFile, task: str) -> ScoredSide:
    """Read any other task. Raises UnusableResult naming the file where it has no usable samples."""
    rows = _rows(run, task)
    known = {*HARNESS_COLUMNS, *metrics(run, task)}
    documents = {doc_id: _document(row, known) for doc_id, row in rows.items()}
    scores = read_scores(run, task, rows)
    return ScoredSide(
        run, task, configured_data_set(run.content["configs"][task]), run.weights, documents, scores
    )


def _rows(run: ResultFile, task: str) -> dict[int, dict[str, Any]]:
    rows: dict[int, dict[str, Any]] = {}
    for row in run.samples(task):
        doc_id = row.get("doc_id")
        if not isinstance(doc_id, int):
            raise UnusableResult(f"{run.samples_path(task)}: a document without a doc_id: {row!r:.80}")
        if doc_id in rows:
            raise UnusableResult(
                f"{run.samples_path(task)}: document {doc_id} stands there twice; "
                "a task with several filters writes no sign of which row is which"
            )
        rows[doc_id] = row
    if not rows:
        raise UnusableResult(f"{run.samples_path(task)}: holds no documents")
    return dict(sorted(rows.items()))


def _answer(run: ResultFile, task: str, row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        answer = json.loads(row["filtered_resps"])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise UnusableResult(
            f"{run.samples_path(task)}: document {row['doc_id']} has no answer of a connector task: {error}"
        ) from error
    if not isinstance(answer, dict) or not {"image", "unreadable"} & set(answer):
        raise UnusableResult(
            f"{run.samples_path(task)}: document {row['doc_id']} answers {answer!r:.80}, expected its image's figures"
        )
    return answer


def _numbers(answer: Mapping[str, Any], *, question: bool) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in answer.items()
        if of_a_question(name) == question and isinstance(value, int | float) and not isinstance(value, bool)
    }


def _document(row: Mapping[str, Any], known: Collection[str]) -> Document:
    keys = {
        name: str(value)
        for name, value in row.items()
        if name not in known and isinstance(value, str | int) and not isinstance(value, bool)
    }
    return Document(str(row.get("target", "")), str(row.get("input", "")), keys)
