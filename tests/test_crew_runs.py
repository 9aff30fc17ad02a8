"""Worker processes in real runs: figures of threads, early ends that leave none behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Outcome, run_command, run_here, script
from tests.reconstruction.small_task import TASKS
from tests.test_crew import gone
from tests.test_left_out import BUDGET, drawn

KNN = "knn_preservation_imagefolder"
ZOO = ("--model", "connector_zoo", "--model_args", "connector=rank8", "--batch_size", "8")


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """Both tasks, one on a folder of pictures with a twin and a file that is cut."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(20):
        path = root / ("cat", "dog")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        drawn(number % 19).save(path)
    (root / "cat" / "zz.png").write_bytes((root / "cat" / "00.png").read_bytes()[:-900])
    here = tmp_path_factory.mktemp("tasks")
    yaml = f"task: small\ninclude: {TASKS / 'patch_reconstruction_imagefolder.yaml'}\nconnector_bench:\n"
    yaml += "  train:\n    documents: !function connector_bench.tasks.picture_folder.image_folder_train\n"
    yaml += f"    doc_to_visual: !function connector_bench.tasks.functions.picture\n  {BUDGET}\n"
    (here / "small.yaml").write_text(yaml)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONNECTOR_BENCH_IMAGE_FOLDER", str(root))
        patch.setenv("HF_DATASETS_CACHE", str(root.parent / "cache"))
        yield (*ZOO, "--include_path", str(here), "--tasks", f"{KNN},small")


def by(workers: str, folder: Path, arguments: tuple[str, ...]) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONNECTOR_BENCH_WORKERS", workers)
        return run_here(folder, *arguments)


@pytest.fixture(scope="module")
def threads(arguments: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return by("threads:2", tmp_path_factory.mktemp("threads"), arguments)


@pytest.mark.parametrize("batch_size", ["8", "3"])
def test_figures_of_both_tasks_are_the_same_bits_by_processes(
    batch_size: str, arguments: tuple[str, ...], threads: Outcome, tmp_path: Path
) -> None:
    """Whoever decodes the pictures, and however many of them the model takes at a time."""
    processes = by("processes:2", tmp_path, (*arguments, "--batch_size", batch_size))
    for task in (KNN, "small"):
        ran = [one.record(task)["ran"]["workers_are"] for one in (threads, processes)]
        assert ran == ["threads", "processes"]
        assert processes.record(task)["ran"]["batch_size"] == int(batch_size)
        assert processes.figures(task) == threads.figures(task)
        answers = [[row["filtered_resps"] for row in one.samples(task)] for one in (threads, processes)]
        assert answers[0] == answers[1]
        assert processes.record(task).get("unreadable") == threads.record(task).get("unreadable")


@pytest.mark.slow
def test_two_ranks_with_a_worker_each_give_the_same(
    arguments: tuple[str, ...], threads: Outcome, tmp_path: Path
) -> None:
    """Workers and ranks are both processes: each rank starts its own, and neither waits for the other's."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    both, said = run_command(
        tmp_path,
        [*torchrun, "-m", "lmms_eval"],
        *arguments,
        CONNECTOR_BENCH_WORKERS="processes:1",
        ACCELERATE_USE_CPU="true",
        OMP_NUM_THREADS="1",
    )
    for task in (KNN, "small"):
        ran = both.record(task)["ran"]
        assert (ran["workers_are"], ran["processes"]) == ("processes", 2), said
        one, two = (
            {name: value for name, value in run.figures(task).items() if isinstance(value, float)}
            for run in (threads, both)
        )
        assert len(one) > 5
        assert two == pytest.approx(one, rel=1e-6, abs=1e-9, nan_ok=True)


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_signal_ends_the_run_and_all_its_workers(
    number: signal.Signals, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    here = {"CONNECTOR_BENCH_WORKERS": "processes:2", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [script("lmms-eval"), *arguments, "--output_path", str(tmp_path)]
    with (tmp_path / "said").open("w") as said:
        run = subprocess.Popen(command, env=os.environ | here, stdout=said, stderr=said)
    try:
        while "Reading training pictures" not in (tmp_path / "said").read_text() and run.poll() is None:
            time.sleep(0.05)
        sessions = first_processes(run.pid)
        assert len(sessions) == 1, (tmp_path / "said").read_text()
        run.send_signal(number)
        assert run.wait(60) == 128 + number, (tmp_path / "said").read_text()
        assert gone(*sessions)
    finally:
        run.kill()


def first_processes(parent: int) -> list[int]:
    """Children that lead sessions of their own."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, above, _, session = stat.read_text().rsplit(") ", 1)[1].split()[:4]
        except OSError:
            continue
        if int(above) == parent and session == stat.parent.name:
            found.append(int(session))
    return found
