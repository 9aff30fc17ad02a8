"""The main job on the embedded models: lmms-eval's own command line, then the leaderboard."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console

from connector_bench.headlines import DEMO
from connector_bench.leaderboard import board as boards
from connector_bench.leaderboard.harness_results import read_run
from connector_bench.leaderboard.printed_table import terminal
from connector_bench.results.harness_files import UnusableResult, result_files

EMBEDDED = tuple((name, 0) for name in ("identity", "mlp", "pixel_shuffle", "resampler", "rank8", "rank2"))
TASKS = "knn_preservation,scenes_vqa"
ALL_TASKS = (
    "knn_preservation,knn_preservation_scenes,patch_reconstruction,scenes_vqa,"
    "knn_preservation_unseen,knn_preservation_scenes_unseen,patch_reconstruction_unseen,scenes_vqa_unseen"
)
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
"""Unless the user says otherwise. The embedded models are so small that a second thread slows them down."""

SHOWN = (*DEMO, "accuracy")


class DemoFailed(RuntimeError):
    """The demo could not be completed; the message says where."""


def whole_zoo() -> list[tuple[str, int]]:
    """Every connector and seed whose weights are shipped."""
    from connector_bench.zoo.shipped import SHIPPED

    stems = (path.stem.rsplit("-seed", 1) for path in sorted(SHIPPED.glob("*.safetensors")))
    return [(name, int(seed)) for name, seed in stems]


def run_demo(output: Path, models: Sequence[tuple[str, int]] = EMBEDDED, tasks: str = TASKS) -> None:
    """Measure each connector and seed with lmms-eval in one process, merge the results and print the table.

    lmms-eval's files lie in `output/results` afterwards, the table in `output/leaderboard`. Raises DemoFailed where
    lmms-eval ended without a result file for every model, since it exits with 0 whatever happens.
    """
    configuration = output / "lmms_eval.yaml"
    results = output / "results"
    try:
        output.mkdir(parents=True, exist_ok=True)
        configuration.write_text(
            yaml.safe_dump([_arguments(*model, tasks, results) for model in models]), encoding="utf-8"
        )
    except OSError as error:
        raise DemoFailed(f"the output folder {output} cannot be written: {error}") from error
    before = set(results.rglob("*_results.json"))
    command = [sys.executable, "-m", "lmms_eval", "--config", str(configuration)]
    print("running:", "lmms-eval", *command[3:], flush=True)
    subprocess.run(command, check=False, env=ENVIRONMENT | os.environ)
    try:
        runs = [read_run(path) for path in result_files([results]) if path not in before]
    except UnusableResult as error:
        raise DemoFailed(f"lmms-eval gave no usable result: {error}") from error
    if len(runs) != len(models):
        raise DemoFailed(
            f"lmms-eval finished {len(runs)} of {len(models)} models; its messages above say why"
        )
    board = output / "leaderboard"
    shutil.rmtree(board, ignore_errors=True)
    Console().print(terminal(boards.add(board, runs), SHOWN))
    print(f"the whole table: {board / 'LEADERBOARD.md'}; lmms-eval's result and sample files: {results}")


def _arguments(connector: str, seed: int, tasks: str, results: Path) -> dict[str, object]:
    return {
        "model": "connector_zoo",
        "model_args": f"connector={connector},seed={seed}",
        "tasks": tasks,
        "batch_size": "64",
        "output_path": str(results),
        "log_samples": True,
    }
