"""Writes the YAML that measures the connector on the images of any lmms-eval task."""

from __future__ import annotations

import re
from pathlib import Path

TEMPLATE = """\
task: {name}
class: !function connector_bench.tasks.functions.KnnPreservation
images_of: {task}
"""


def write_task(task: str, folder: Path) -> Path:
    """`knn_preservation_<task>.yaml` in `folder`; an existing file is not replaced.

    Raises:
        ValueError: the name is none that lmms-eval could know.
        FileExistsError: the file is there already.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.+-]+", task):
        raise ValueError(f"{task!r} is no task name; letters, digits and _ . + - are allowed")
    name = f"knn_preservation_{task}"
    path = folder / f"{name}.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write(TEMPLATE.format(name=name, task=task))
    return path
