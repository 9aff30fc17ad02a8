"""Writes the YAML that measures the connector on the images of any lmms-eval task."""

from __future__ import annotations

import re
from pathlib import Path

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


def write_task(task: str, folder: Path, measure: str = "knn_preservation", split: str = "train") -> Path:
    """`<measure>_<task>.yaml` in `folder`; an existing file is not replaced.

    `split` of the task's data set is what the probes of `patch_reconstruction` learn from.

    Raises:
        ValueError: the name is none that lmms-eval could know, or there is no such measure.
        FileExistsError: the file is there already.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.+-]+", task):
        raise ValueError(f"{task!r} is no task name; letters, digits and _ . + - are allowed")
    if measure not in TEMPLATES:
        raise ValueError(f"no measure {measure!r}; measures are {', '.join(TEMPLATES)}")
    name = f"{measure}_{task}"
    path = folder / f"{name}.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write(TEMPLATES[measure].format(name=name, task=task, split=split))
    return path
