"""Small real runs of two models on every kind of task, which faults are then done to."""

from __future__ import annotations

import json
from pathlib import Path

from tests.harness import run_here
from tests.reconstruction.small_task import write_small_task
from tests.stages.small_stages import write_small_stages

PATCHES, STAGES = "patch_reconstruction_small", "connector_stages_small"
CONNECTORS = ("mlp", "rank2")
IMAGES = 170
"""Enough for a smaller gallery beside all of them: the record then holds a curve over their number."""


def two_models(folder: Path) -> Path:
    """Run both through lmms-eval into `folder/<connector>`, as if the few scenes were the whole of the data.

    Their files hold our records of all three measures, sample rows, neighbours, loss maps, pictures and masks.
    """
    include = write_small_task(folder.with_name("tasks"), PATCHES, images=40)[:2]
    write_small_stages(folder.with_name("tasks"), STAGES)
    tasks = ("--tasks", f"{PATCHES},knn_preservation,{STAGES},scenes_vqa", "--limit", str(IMAGES))
    for connector in CONNECTORS:
        run_here(
            folder / connector,
            *("--model", "connector_zoo", "--model_args", f"connector={connector}", "--batch_size", "64"),
            *include,
            *tasks,
        )
        (path,) = (folder / connector).rglob("*_results.json")
        content = json.loads(path.read_text())
        content["config"]["limit"] = None
        path.write_text(json.dumps(content))
    return folder
