"""Ends a run with one sentence and status 1 where a task of ours cannot be run.

lmms-eval answers an exception with a traceback and the status of success.
"""

from __future__ import annotations

from functools import wraps
from typing import Any, NoReturn
from weakref import WeakSet

from lmms_eval.tasks import TaskManager
from loguru import logger

from connector_bench.processes import rank_and_size

_of_command_lines: WeakSet[TaskManager] = WeakSet()
"""Those that a command line has looked its tasks up in; who makes tasks in Python gets the exception."""


class TaskRefused(ValueError):
    """A task of ours that cannot be made: an option, the environment or a data set that is not allowed."""


def end_run(why: str) -> NoReturn:
    """End the run on all ranks, each of which has the same reason."""
    if rank_and_size()[0] == 0:
        logger.error(why)
    raise SystemExit(1)


def refuse_in_a_sentence() -> None:
    """Let a command line end with a sentence where it asks for a task of ours that is refused."""
    matched, loaded = TaskManager.match_tasks, TaskManager.load_task_or_group
    if hasattr(loaded, "__wrapped__"):
        return

    @wraps(matched)
    def match_tasks(self: TaskManager, task_list: list[str]) -> Any:
        _of_command_lines.add(self)
        return matched(self, task_list)

    @wraps(loaded)
    def load_task_or_group(self: TaskManager, *args: Any, **options: Any) -> Any:
        try:
            return loaded(self, *args, **options)
        except TaskRefused as refused:
            if self not in _of_command_lines:
                raise
            logger.opt(exception=True).debug("where it was refused")
            end_run(f"{refused}; nothing was measured")

    TaskManager.match_tasks, TaskManager.load_task_or_group = match_tasks, load_task_or_group
