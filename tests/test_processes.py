"""Ranks that die, ranks that are told to end, runs that go on with another number of them: by lmms-eval itself."""

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from connector_bench.processes.packing import Packed
from connector_bench.reconstruction.probes.sample import ProbeSample
from tests.harness import Outcome, run_here
from tests.reconstruction.planted import images, learn, small_config
from tests.reconstruction.small_task import write_small_task

ROOT = Path(__file__).parents[1]
ZOO = ("--model", "connector_zoo", "--model_args", "connector=rank8", "--batch_size", "8")
POINTS = ("reading", "training", "fit", "test", "statistics")


def test_tensors_and_arrays_cross_as_they_are() -> None:
    layer = torch.nn.Linear(30, 20)
    shared = torch.randn(50, 40)
    value = {
        "network": layer,
        "view": torch.randn(400, 30)[::7],
        "turned": torch.randn(30, 20).T,
        "half": torch.randn(9).bfloat16(),
        "flags": torch.tensor([True, False]),
        "one": torch.tensor(3),
        "none": torch.zeros(0, 4),
        "twice": (shared, shared),
        "words": np.array(["a", "bc"]),
        "keys": np.arange(7, dtype=np.uint64)[::2],
        "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "empty": np.zeros((0, 5), np.float32),
        "objects": np.array(["x", None], dtype=object),
    }
    packed = Packed.of(value)
    found = Packed(packed.structure, [tensor.clone() for tensor in packed.tensors]).value()
    assert found["twice"][0] is found["twice"][1]
    for name in ("view", "turned", "half", "flags", "one", "none"):
        assert found[name].dtype == value[name].dtype
        assert torch.equal(found[name], value[name])
    assert found["turned"].stride() == value["turned"].stride()
    for name in ("words", "keys", "fortran", "empty", "objects"):
        assert found[name].dtype == value[name].dtype
        assert np.array_equal(found[name], value[name])
    assert isinstance(found["network"].weight, torch.nn.Parameter)
    assert torch.equal(found["network"](shared[:, :30]), layer(shared[:, :30]))


def test_of_a_state_little_is_pickled() -> None:
    sample = ProbeSample(small_config())
    for name, pair in images(40):
        learn(sample, name, pair)
    packed = Packed.of(sample)
    assert len(packed.structure) < len(pickle.dumps(sample)) / 20
    assert torch.equal(packed.value().state()[0]["target.mean_y"], sample.state()[0]["target.mean_y"])


def run_by_hand(
    folder: Path, ranks: int, point: str, rank: int, number: int, arguments: tuple[str, ...]
) -> tuple[list[int], list[str], float]:
    """Exit codes and output of ranks that no launcher watches, and seconds from the first end to the last."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    common |= {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "tests.dying_rank", point, str(rank), str(number), *arguments]
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"said-{one}" for one in range(ranks)]
    running = [
        subprocess.Popen(
            [*command, "--output_path", str(folder), "--log_samples"],
            cwd=ROOT,
            env=common | {"RANK": str(one), "LOCAL_RANK": str(one)},
            stdout=path.open("w"),
            stderr=subprocess.STDOUT,
        )
        for one, path in enumerate(paths)
    ]
    try:
        while all(process.poll() is None for process in running):
            time.sleep(0.1)
        first = time.monotonic()
        codes = [process.wait(timeout=60) for process in running]
        return codes, [path.read_text() for path in paths], time.monotonic() - first
    finally:
        for process in running:
            process.kill()


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    small = write_small_task(tmp_path_factory.mktemp("tasks"), images=24, shard=1000)
    return (*ZOO, *small, "--limit", "24")


@pytest.mark.faults
@pytest.mark.parametrize(
    ("point", "rank"),
    [  # of the six test pictures rank 1 of 3 has none
        ("fit", 0),
        *(pytest.param(point, 0 if point == "test" else 1, marks=pytest.mark.slow) for point in POINTS),
    ],
)
def test_a_rank_that_is_killed_ends_the_others(
    point: str, rank: int, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    codes, said, seconds = run_by_hand(tmp_path, 3, point, rank, signal.SIGKILL, arguments)
    others = [one for one in range(3) if one != rank]
    assert codes[rank] == -signal.SIGKILL
    assert [codes[one] for one in others] == [1, 1], said
    assert seconds < 60
    for one in others:
        assert said[one].count(f"rank {one} ends: rank {rank} of 3 has ended before its work was done") == 1
        assert "Traceback" not in said[one]


@pytest.fixture(scope="module")
def whole(arguments: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_here(tmp_path_factory.mktemp("whole"), *arguments)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("point", "number", "ranks"),
    [
        ("training", signal.SIGTERM, 2),
        pytest.param("test", signal.SIGINT, 2, marks=pytest.mark.slow),
        pytest.param("training", signal.SIGTERM, 3, marks=pytest.mark.slow),
    ],
)
def test_a_signal_leaves_what_was_gathered_to_a_run_of_one_process(
    point: str, number: int, ranks: int, arguments: tuple[str, ...], whole: Outcome, tmp_path: Path
) -> None:
    codes, said, _ = run_by_hand(tmp_path, ranks, point, 1, number, arguments)
    assert codes == [128 + number] * ranks, said
    name = signal.Signals(number).name
    assert f"rank 0 ends: {name} came. The same command goes on from what is on the disk." in said[0]
    (folder,) = (tmp_path / "connector_bench").iterdir()
    shard = "training-1of*/gathered" if point == "training" else "scored-24-1of*/board"
    assert list(folder.glob(f"{shard}.safetensors")), "the last shard"
    resumed = run_here(tmp_path, *arguments)
    _same_figures(whole, resumed)
    assert resumed.record("small")["n_images"] == whole.record("small")["n_images"]
    assert not list(folder.glob("training-*")), "old folders go"
    assert not [path for path in folder.rglob("*") if re.match(r"\.writing-", path.name)]


def _same_figures(whole: Outcome, resumed: Outcome) -> None:
    expected, found = (run.record("small")["scores"] for run in (whole, resumed))
    assert expected.keys() == found.keys()
    for figure, score in expected.items():
        assert found[figure]["value"] == pytest.approx(score["value"], abs=1e-6), figure


@pytest.mark.faults
@pytest.mark.parametrize(("before", "after"), [(1, 2), pytest.param(2, 1, marks=pytest.mark.slow)])
def test_another_number_of_processes_takes_over_what_was_gathered(
    before: int, after: int, arguments: tuple[str, ...], whole: Outcome, tmp_path: Path
) -> None:
    """The pictures that the first run has passed do not pass again, and its folders go."""
    codes, said, _ = run_by_hand(tmp_path, before, "training", 0, signal.SIGTERM, arguments)
    assert codes == [128 + signal.SIGTERM] * before, said
    (folder,) = (tmp_path / "connector_bench").iterdir()
    gathered = sum(
        len(load_file(path)["seen"]) for path in folder.glob(f"training-*of{before}/gathered.safetensors")
    )
    assert 0 < gathered < 24
    codes, said, _ = run_by_hand(tmp_path, after, "never", 0, signal.SIGTERM, arguments)
    assert codes == [0] * after, said
    (passed,) = set(re.findall(r"Training images: 100%\|.*?\| *(\d+)/\d+", said[0]))
    assert int(passed) == pytest.approx((24 - gathered) / after, abs=1)
    _same_figures(whole, Outcome(tmp_path))
    assert not list(folder.glob("training-*"))
