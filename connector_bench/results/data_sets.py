"""Which data a task reads: as its run was configured, and as the task definitions that come with the package say."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

import yaml


class _Definitions(yaml.SafeLoader):
    """Reads a task's YAML without importing the functions that it names."""


_Definitions.add_multi_constructor("!", lambda loader, tag, node: str(getattr(node, "value", tag)))


FORMER = {
    ("knn_preservation", "1"): "knn_preservation_scenes",
    ("knn_preservation_unseen", "1"): "knn_preservation_scenes_unseen",
}
"""What is defined today as a task's version of then, where the name has moved on to other pictures."""


DRAWN_ALIKE = {"objects_test.json": "scenes_test.json", "objects_test_unseen.json": "scenes_test_unseen.json"}
"""Pictures of the same drawings: what a connector keeps of the first may stand beside its answers about the second,
model by model. No picture is in both, so nothing is joined image by image."""


def comparable_across(data_sets: Collection[str]) -> frozenset[str]:
    """All names of data whose scores may stand beside figures of these across connectors."""
    return frozenset(data_sets) | {DRAWN_ALIKE[name] for name in data_sets if name in DRAWN_ALIKE}


def data_sets_of(task: str, version: str | None, config: Mapping[str, Any] | None = None) -> frozenset[str]:
    """All names of the data that a version of a task reads; tasks that share one read the same.

    A board keeps no configuration, so that its tasks are known by their definition alone. What recorded no version is
    of the first.
    """
    defined = defined_data_set(FORMER.get((task, version or "1"), task))
    return frozenset({defined} | ({configured_data_set(config)} if config else set()))


def configured_data_set(config: Mapping[str, Any]) -> str:
    """Path, name, the split's files and the split of a task's configuration in a result file, without folders."""
    split = config.get("test_split") or config.get("validation_split")
    given = (config.get("dataset_kwargs") or {}).get("data_files") or []
    if isinstance(given, Mapping):
        given = given.get(split, list(given.values()))
    listed = given if isinstance(given, list) else [given]
    names = [PurePosixPath(str(file).replace("\\", "/")).name for file in listed]
    parts = (config.get("dataset_path"), config.get("dataset_name"), *names, split)
    return " ".join(str(part) for part in parts if part)


def defined_data_set(task: str) -> str:
    """What two tasks share that read the same pictures: the borrowed task's name, or the files of the scenes.

    A task that is not one of ours stands for its own data set.
    """
    definition = _definition(task)
    if definition is None:
        return task
    if "images_of" in definition:
        return defined_data_set(str(definition["images_of"]))
    listed = (definition.get("dataset_kwargs") or {}).get("data_files") or {}
    return str(listed.get(definition.get("test_split"), task))


def tasks_that_read(data_sets: Collection[str], measure: str) -> list[str]:
    """The package's own tasks of a measure that read one of these, by name."""
    return [name for name in our_tasks() if name.startswith(measure) and defined_data_set(name) in data_sets]


@cache
def our_tasks() -> tuple[str, ...]:
    """The package's own tasks and groups, by name."""
    names = (entry.name for entry in files("connector_bench.tasks").iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


@cache
def _definition(task: str) -> dict[str, Any] | None:
    if not re.fullmatch(r"\w+", task):
        return None
    path = files("connector_bench.tasks").joinpath(f"{task}.yaml")
    if not path.is_file():
        return None
    found = yaml.load(path.read_text(encoding="utf-8"), _Definitions)
    included = str(found.get("include", "")).removesuffix(".yaml")
    return {**(_definition(included) or {}), **found} if included else found
