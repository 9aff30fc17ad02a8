"""A real run of lmms-eval with both tasks and questions, and its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import Outcome, run_here
from tests.reconstruction.small_task import write_small_task
from tests.report.command import report

TASKS = "patches,knn_of_scenes,scenes_vqa"
KNN = """\
task: knn_of_scenes
class: !function connector_bench.tasks.functions.KnnPreservation
images_of: scenes_vqa
"""


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("run")
    arguments = ("--model", "connector_zoo", "--model_args", "connector=mlp", "--batch_size", "64")
    (folder / "knn.yaml").write_text(KNN)
    write_small_task(folder, "patches")
    arguments += ("--include_path", str(folder), "--tasks", TASKS, "--limit", "160")
    return run_here(folder / "out", *arguments)


@pytest.fixture(scope="package")
def page(run: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    finished = report(run.folder, folder / "report.html", "--png", str(folder / "png"))
    assert finished.exit_code == 0, finished.stderr
    return folder / "report.html"
