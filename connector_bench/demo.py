"""The main job on the embedded models: lmms-eval's own command line, then a board, and what it says in a terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import typer
import yaml

from connector_bench.demo_table import NEXT, said
from connector_bench.leaderboard import board as boards
from connector_bench.leaderboard.harness_results import read_run
from connector_bench.number_style import counted
from connector_bench.progress import steps
from connector_bench.results.harness_files import UnusableResult, result_files

EMBEDDED = tuple((name, 0) for name in ("identity", "linear", "mlp", "pixel_shuffle", "rank8", "rank2"))
TASKS = "knn_preservation,patch_reconstruction_demo,scenes_vqa"
ALL_TASKS = (
    "knn_preservation,knn_preservation_scenes,patch_reconstruction,scenes_vqa,"
    "knn_preservation_unseen,knn_preservation_scenes_unseen,patch_reconstruction_unseen,scenes_vqa_unseen,"
    "connector_stages,connector_stages_unseen"
)
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
"""Unless the user says otherwise. The embedded models are so small that a second thread slows them down."""

LOG = "lmms_eval.log"
LAST_LINES = 15
"""Of the log, where lmms-eval did not measure every model."""
LOOKING_EVERY = 0.5
"""Seconds."""


class DemoFailed(RuntimeError):
    """The demo could not be completed; the message says where."""


def whole_zoo(seeds: int | None = None) -> list[tuple[str, int]]:
    """Every connector and seed whose weights are shipped; of each connector the first `seeds` where they are given."""
    from connector_bench.zoo.shipped import SHIPPED

    stems = (path.stem.rsplit("-seed", 1) for path in sorted(SHIPPED.glob("*.safetensors")))
    return [(name, int(seed)) for name, seed in stems if seeds is None or int(seed) < seeds]


def run_demo(output: Path, models: Sequence[tuple[str, int]] = EMBEDDED, tasks: str = TASKS) -> None:
    """Measure each connector and seed with lmms-eval in one process, merge the results, and say what came out.

    lmms-eval's files lie in `output/results` afterwards, what it printed in `output/lmms_eval.log`, the table and its
    page in `output/leaderboard`. Raises DemoFailed where lmms-eval ended without a result file for every model, since
    it exits with 0 whatever happens.
    """
    configuration, results, log = (output / name for name in ("lmms_eval.yaml", "results", LOG))
    try:
        output.mkdir(parents=True, exist_ok=True)
        configuration.write_text(
            yaml.safe_dump([_arguments(*model, tasks, results) for model in models]), encoding="utf-8"
        )
        log.write_bytes(b"")
    except OSError as error:
        raise DemoFailed(f"the output folder {output} cannot be written: {error}") from error
    before = set(results.rglob("*_results.json"))
    typer.echo(f"running: lmms-eval --config {configuration}; what it prints goes to {log}")
    started = time.monotonic()
    _run(configuration, log, results, len(models), before)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    try:
        runs = [read_run(path) for path in result_files([results]) if path not in before]
    except UnusableResult as error:
        raise DemoFailed(f"lmms-eval gave no usable result: {error}\n{_last_lines(log)}") from error
    if len(runs) != len(models):
        raise DemoFailed(
            f"lmms-eval finished {len(runs)} of {len(models)} models; the end of {log}:\n{_last_lines(log)}"
        )
    board = output / "leaderboard"
    shutil.rmtree(board, ignore_errors=True)
    table = boards.add(board, runs)
    measured = f"{counted(len(models), 'model')} measured in {minutes}:{seconds:02}"
    typer.echo(f"{measured}\n\n{said(table, tasks.split(','))}\n")
    shown = _in_results(runs[-1].model, [run.model for run in runs])
    commands = {"program": program("connector-bench"), "harness": program("lmms-eval")}
    typer.echo(NEXT.format(page=board / "index.html", results=results, model=shown, **commands))


def _run(configuration: Path, log: Path, results: Path, models: int, before: set[Path]) -> None:
    """lmms-eval until it ends, with a bar of the models that have a result file."""
    command = [sys.executable, "-m", "lmms_eval", "--config", str(configuration)]
    with (
        log.open("wb") as written,
        subprocess.Popen(
            command, stdout=written, stderr=subprocess.STDOUT, env=ENVIRONMENT | os.environ
        ) as running,
        steps([], "measuring", total=models, unit="model") as bar,
    ):
        while True:
            ended = running.poll() is not None
            if more := len(set(results.rglob("*_results.json")) - before) - bar.n:
                bar.update(more)
            elif sys.stderr.isatty():
                bar.refresh()
            if ended:
                return
            time.sleep(LOOKING_EVERY)


def _in_results(model: str, models: Sequence[str]) -> str:
    """The shortest name by which `report` finds a model among these."""
    short = model.rpartition("/")[2]
    return short if sum(short in other for other in models) == 1 else model


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:])


def program(name: str) -> str:
    """A command as it can be typed here: the one of this environment, which may not be on the PATH."""
    own = Path(sys.executable).with_name(name)
    if shutil.which(name) == str(own) or not own.is_file():
        return name
    here = Path.cwd()
    return str(own.relative_to(here) if own.is_relative_to(here) else own)


def _arguments(connector: str, seed: int, tasks: str, results: Path) -> dict[str, object]:
    return {
        "model": "connector_zoo",
        "model_args": f"connector={connector},seed={seed}",
        "tasks": tasks,
        "batch_size": "64",
        "output_path": str(results),
        "log_samples": True,
    }
