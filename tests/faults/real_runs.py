"""Small real runs of two models on every kind of task, which faults are then done to."""

from __future__ import annotations

import json
from pathlib import Path

from tests.harness import run_here
from tests.reconstruction.small_task import write_small_task

PATCHES = "patch_reconstruction_small"
CONNECTORS = ("mlp", "rank2")


def two_models(folder: Path) -> Path:
    """Run both through lmms-eval into `folder/<connector>`, as if the few scenes were the whole of the data.

    Their files hold our records, sample rows, neighbours, loss maps, pictures and masks.
    """
    include = write_small_task(folder.with_name("tasks"), PATCHES, images=40)[:2]
    for connector in CONNECTORS:
        run_here(
            folder / connector,
            *("--model", "connector_zoo", "--model_args", f"connector={connector}", "--batch_size", "64"),
            *(*include, "--tasks", f"{PATCHES},knn_preservation,scenes_vqa", "--limit", "32"),
        )
        (path,) = (folder / connector).rglob("*_results.json")
        content = json.loads(path.read_text())
        content["config"]["limit"] = None
        path.write_text(json.dumps(content))
    return folder
