"""All tasks of the run that is going on, ours and others, so that one can be read beside another."""

from __future__ import annotations

from functools import wraps
from typing import Any

from lmms_eval.api.reasoning import parse_reasoning_tags_config, strip_reasoning_tags
from lmms_eval.api.task import Task


class RunTasks:
    """Tasks by name, from when the first is asked for its requests until the next run asks."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._all_there = False

    def note(self, name: str, task: Task) -> None:
        """One of the run's tasks builds its requests; all do before the first request is answered."""
        if self._all_there:
            self._tasks.clear()
            self._all_there = False
        self._tasks[name] = task

    def complete(self) -> None:
        """The first request of the run is about to be answered."""
        self._all_there = True

    def find(self, name: str) -> Task | None:
        """A task of the run, None where the run has no such task."""
        return self._tasks.get(name)


OF_THE_RUN = RunTasks()
NOTES = "notes_tasks_of_the_run"
"""Marks what already notes them."""


def note_tasks_of_the_run() -> None:
    """Have every task that builds its requests noted, once, whoever else wraps what builds them."""
    original = Task.build_all_requests
    if hasattr(original, NOTES):
        return

    @wraps(original)
    def build_all_requests(self: Task, **options: Any) -> None:
        OF_THE_RUN.note(str(self.config.task), self)
        original(self, **options)

    setattr(build_all_requests, NOTES, True)
    Task.build_all_requests = build_all_requests


def rows_of(task: Task) -> Any:
    """The documents that a task asks about, without their pictures."""
    return task.dataset_no_image[str(task.config.test_split or task.config.validation_split)]


def answered_rightly(task: Task) -> dict[int, float]:
    """By document of this rank, the first metric of a task whose requests are answered, as lmms-eval will score it.

    Raises what the task's own scoring raises, and LookupError where it has not that metric for a document.
    """
    if any(not one.filtered_resps for one in task.instances):
        task.apply_filters()
    said = getattr(getattr(task, "args", None), "reasoning_tags", None)
    tags = parse_reasoning_tags_config(
        cli_value=said, task_value=getattr(task.config, "reasoning_tags", None)
    )
    metric, rows = next(iter(task.aggregation())), rows_of(task)
    found = {}
    for one in task.instances:
        text = next(iter(one.filtered_resps.values()))
        if tags is not None and isinstance(text, str):
            text = strip_reasoning_tags(text, tags)
        found[one.doc_id] = float(task.process_results(rows[one.doc_id], [text])[metric])
    return found
