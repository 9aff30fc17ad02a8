"""The two sides of a join: a connector task and any other task, each of one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connector_bench.association.losses import of_a_question
from connector_bench.association.task_scores import TaskScores, read_scores
from connector_bench.results.harness_files import UnusableResult
from connector_bench.results.tasks import TaskRun, numbers


@dataclass(frozen=True)
class ConnectorSide:
    """A connector task: figures of every document whose picture was read."""

    of: TaskRun
    image_of: Mapping[int, str]
    figures: Mapping[int, Mapping[str, float]]
    """Complete for every document: those of its image stand on each document of that image."""


@dataclass(frozen=True)
class ScoredSide:
    """Any other task: its own metrics, a value a document."""

    of: TaskRun
    scores: TaskScores

    def keys(self) -> dict[int, dict[str, str]]:
        """By document: columns of the task that are no metrics, such as `image_id`."""
        metrics = set(self.of.metric_columns)
        return {
            number: {
                name: str(value)
                for name, value in row.columns.items()
                if name not in metrics and isinstance(value, str | int) and not isinstance(value, bool)
            }
            for number, row in self.of.documents.items()
        }


def connector_side(task: TaskRun) -> ConnectorSide:
    """Read a connector task. Raises UnusableResult naming the file where it failed or has no usable samples."""
    if task.error is not None:
        raise UnusableResult(f"{task.file.path}: {task.name} failed: {task.error}")
    answers = task.answers
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
                f"{task.file.samples_path(task.name)}: document {doc_id} shows the image of document "
                f"{answers[doc_id]['same_image_as']}, which is not in the file"
            )
        figures[doc_id] = {**of_image[image], **_numbers(answers[doc_id], question=True)}
    return ConnectorSide(task, image_of, figures)


def scored_side(task: TaskRun) -> ScoredSide:
    """Read any other task. Raises UnusableResult naming the file where it has no usable samples."""
    return ScoredSide(task, read_scores(task))


def _numbers(answer: Mapping[str, Any], *, question: bool) -> dict[str, float]:
    return {name: value for name, value in numbers(answer).items() if of_a_question(name) == question}
