"""Writes the YAML that measures the connector on the images of any lmms-eval task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connector_bench.atomic_files import write_atomically
from connector_bench.entry import loaded_plugin

TEMPLATES = {
    "knn_preservation": """\
task: {name}
class: !function connector_bench.tasks.functions.KnnPreservation
images_of: {task}
""",
    "patch_reconstruction": """\
task: {name}
class: !function connector_bench.tasks.functions.PatchReconstruction
images_of: {task}
connector_bench:
  train:  # where probes learn: a split of this data set, or of another task's (images_of: TASK)
    split: {split}
    images: 20000
""",
}
"""The YAML of every measure."""


def write_task(
    task: str,
    folder: Path,
    measure: str = "knn_preservation",
    split: str = "train",
    include_path: Path | None = None,
    replace: bool = False,
) -> Path:
    """`<measure>_<task>.yaml` in `folder`; an existing file stays as it is unless `replace` is given.

    `split` of the task's data set is what the probes of `patch_reconstruction` learn from; `include_path` is the
    folder of the task's YAML, as lmms-eval is given it, where the task is not one of lmms-eval's own.

    Raises:
        ValueError: there is no such measure or task, the task is a group, has no pictures or no such split, its
            measurement comes with connector-bench, or the file is there already.
        OSError: the folder cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.+-]+", task):
        raise ValueError(f"{task!r} is no task name; letters, digits and _ . + - are allowed")
    if measure not in TEMPLATES:
        raise ValueError(f"no measure {measure!r}; measures are {', '.join(TEMPLATES)}")
    name = f"{measure}_{task}"
    path = folder / f"{name}.yaml"
    if path.exists() and not replace:
        raise ValueError(f"{path} is there already; --replace writes it again")
    plugin = loaded_plugin()
    pictures = plugin.pictures_of(task, include_path)
    if (plugin.tasks_folder() / path.name).is_file():
        raise ValueError(f"{name} comes with connector-bench; run: lmms-eval --tasks {name}")
    if measure == "patch_reconstruction":
        _check_split(task, pictures, split)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, TEMPLATES[measure].format(name=name, task=task, split=split).encode())
    return path


def _check_split(task: str, pictures: Mapping[str, Any], split: str) -> None:
    tested = pictures.get("test_split") or pictures.get("validation_split")
    if split == tested:
        raise ValueError(f"{task} is tested on its split {split}; probes must learn from another one")
    known = _splits(pictures)
    if known and split not in known:
        others = ", ".join(name for name in known if name != tested) or "none"
        raise ValueError(
            f"the data set of {task} has no split {split!r}; beside {tested}, which is tested, it has: {others}. "
            "Choose one with --train-split, or let probes learn from another task's pictures (images_of under train)"
        )


def _splits(pictures: Mapping[str, Any]) -> list[str]:
    """Names of a data set's splits; empty where they cannot be looked up, such as without a network."""
    import datasets

    options = pictures.get("dataset_kwargs") or {}
    if isinstance(options.get("data_files"), Mapping):
        return list(options["data_files"])
    try:
        return list(datasets.get_dataset_split_names(pictures["dataset_path"], pictures.get("dataset_name")))
    except Exception:  # whatever the hub's client raises: the run itself will name a wrong split
        return []
