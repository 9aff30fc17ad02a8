"""Which data a task reads, from the task definitions that come with the package."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


class _Definitions(yaml.SafeLoader):
    """Reads a task's YAML without importing the functions that it names."""


_Definitions.add_multi_constructor("!", lambda loader, tag, node: str(getattr(node, "value", tag)))


def data_set_of(task: str) -> str:
    """What two tasks share that read the same pictures: the borrowed task's name, or the files of the scenes.

    A task that is not one of ours stands for its own data set.
    """
    definition = _definition(task)
    if definition is None:
        return task
    if "images_of" in definition:
        return data_set_of(str(definition["images_of"]))
    listed = (definition.get("dataset_kwargs") or {}).get("data_files") or {}
    return str(listed.get(definition.get("test_split"), task))


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
