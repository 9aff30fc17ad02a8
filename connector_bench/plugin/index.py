"""Which tasks there are: our folder in lmms-eval's index, and what another task's YAML says of its pictures."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from functools import cache, wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lmms_eval.tasks import TaskManager
from lmms_eval.utils import load_yaml_config

IMAGES_OF = "images_of"
PICTURES = (
    "dataset_path",
    "dataset_name",
    "dataset_kwargs",
    "training_split",
    "validation_split",
    "test_split",
    "process_docs",
    "doc_to_visual",
)
"""What a task's YAML says of its data set and pictures."""
ROWS = ("doc_to_text", "doc_to_target", "lmms_eval_specific_kwargs", "model_specific_target_kwargs")
"""What makes its rows of the sample file, by which ours are joined to them."""

MEMBERS_NAMED = 12

_task_index: dict[str, dict[str, Any]] = {}
_our_tasks: set[str] = set()
"""Those of our folder; a user's own YAML may name our classes as well."""


def when_ours_are_asked_for(told: Callable[[], None]) -> None:
    """Have a function called when a command line's tasks are looked up, before its model, and some are ours."""
    original = TaskManager.match_tasks
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def match_tasks(self: TaskManager, task_list: list[str]) -> list[str]:
        found: list[str] = original(self, task_list)
        if any(name in _our_tasks for name in found):
            told()
        return found

    TaskManager.match_tasks = match_tasks


def index_our_tasks() -> None:
    """Let lmms-eval's index hold our folder, whoever asks for it."""
    original = TaskManager.initialize_tasks
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def initialize_tasks(
        self: TaskManager, include_path: str | list[str] | None = None, include_defaults: bool = True
    ) -> dict[str, Any]:
        index = original(self, include_path=include_path, include_defaults=include_defaults)
        ours = self._get_task_and_group(str(tasks_folder())) if include_defaults else {}
        _our_tasks.update(ours)
        _task_index.update({**ours, **index})
        return {**ours, **index}

    TaskManager.initialize_tasks = initialize_tasks


def tasks_folder() -> Path:
    """The folder of our task YAMLs, wherever the package is installed."""
    spec = find_spec("connector_bench.tasks")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("connector_bench.tasks is not installed; install connector-bench with pip")
    return Path(spec.origin).parent


def borrowed(task: str, keys: Sequence[str], users: tuple[str, ...] = ()) -> dict[str, Any]:
    """Parts of another task's YAML, which may itself say `images_of`; `users` are the tasks that led there.

    Raises ValueError for a task that is not in the index, or that stands for several.
    """
    entry = _task_index.get(task)
    if entry is None:
        close = ", ".join(difflib.get_close_matches(task, _task_index, n=3)) or "none"
        raise ValueError(f"{IMAGES_OF}: there is no task {task}; close names: {close}")
    if entry["type"] in ("group", "tag"):
        members = [name for name in members_of(task) if name != task]
        more = f" and {len(members) - MEMBERS_NAMED} more" if len(members) > MEMBERS_NAMED else ""
        raise ValueError(
            f"{IMAGES_OF}: {task} is a {entry['type']} of tasks; name one of them: "
            f"{', '.join(members[:MEMBERS_NAMED])}{more}"
        )
    if task in users:
        raise ValueError(f"{IMAGES_OF}: {' -> '.join((*users, task))} leads back to itself")
    config = load_yaml_config(entry["yaml_path"], mode="full")
    if IMAGES_OF in config:
        config = borrowed(config[IMAGES_OF], keys, (*users, task)) | config
    return {key: config[key] for key in keys if key in config}


def yaml_of(task: str, include_path: Path | None = None) -> tuple[Path, dict[str, Any]]:
    """Where a task's YAML lies, and what it says. ValueError where there is no such task, or it stands for several."""
    task_manager(include_path)
    borrowed(task, ())
    path = _task_index[task]["yaml_path"]
    return Path(path), load_yaml_config(path, mode="full")


def members_of(name: str) -> list[str]:
    """The tasks that a group or a tag stands for, those of groups within it included; of a task its own name."""
    entry = _task_index.get(name, {"type": "task"})
    if entry["type"] not in ("group", "tag"):
        return [name]
    listed = entry["task"]
    if listed == -1:
        listed = load_yaml_config(entry["yaml_path"], mode="simple")["task"]
    named = [one["task"] if isinstance(one, dict) else one for one in listed]
    return list(dict.fromkeys(task for one in named if one != name for task in members_of(str(one))))


def pictures_of(task: str, include_path: Path | None = None) -> dict[str, Any]:
    """What a task's YAML says of its data set and pictures, for any task that `images_of` may name.

    Raises ValueError where there is no such task, it stands for several, or has no pictures.
    """
    task_manager(include_path)
    config = borrowed(task, PICTURES)
    require_pictures(task, config)
    return config


@cache
def task_manager(include_path: Path | None) -> TaskManager:
    """The index with our tasks in it, and with a user's folder."""
    index_our_tasks()
    return TaskManager(verbosity="ERROR", include_path=None if include_path is None else str(include_path))


def require_pictures(task: str, config: dict[str, Any]) -> None:
    """Raise ValueError where a task's YAML has no pictures."""
    if config.get("doc_to_visual") is None:
        raise ValueError(
            f"{IMAGES_OF}: {task} has no pictures: its YAML has no doc_to_visual; name a task that has, or give "
            "doc_to_visual beside images_of"
        )
