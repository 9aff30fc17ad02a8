import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from connector_bench.reconstruction.artefacts import Artefacts
from connector_bench.reconstruction.store import (
    FINGERPRINT,
    DamagedState,
    RunStore,
    StateMismatch,
    write_atomically,
)

from .killed_run import main

ROOT = Path(__file__).parents[2]
RUN = {"model": "llava", "options": {"seed": 0, "width": 8}, "protocol": 1}


def test_shards_come_back(tmp_path) -> None:
    store = RunStore(tmp_path / "run", RUN)
    store.write("a-1", {"x": torch.arange(3)}, {"images": ["é"], "n": 1.5})
    store.write("a-1", {"x": torch.arange(4)}, {"images": ["é"], "n": 2.5})
    tensors, meta = RunStore(tmp_path / "run", RUN).read("a-1")
    assert tensors["x"].tolist() == [0, 1, 2, 3]
    assert meta == {"images": ["é"], "n": 2.5}
    assert list(store.names("a-")) == ["a-1"]
    assert "a-1" in store
    assert "b" not in store
    with pytest.raises(KeyError):
        store.read("b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "idefics2"}, "model: the state has 'llava', this run 'idefics2'"),
        ({"options": {"seed": 1, "width": 8}}, r"options\.seed: the state has 0, this run 1"),
        ({"options": {"seed": 0}}, r"options\.width: the state has 8, this run 'nothing'"),
        ({"protocol": 2}, "protocol: the state has 1, this run 2"),
        ({"data_set": "coco"}, "data_set: the state has 'nothing', this run 'coco'"),
    ],
)
def test_the_state_of_another_run_is_refused_and_the_field_named(tmp_path, change, message) -> None:
    RunStore(tmp_path, RUN)
    with pytest.raises(StateMismatch, match=message):
        RunStore(tmp_path, {**RUN, **change})
    RunStore(tmp_path, RUN)


def test_shards_without_a_fingerprint_belong_to_nobody(tmp_path) -> None:
    RunStore(tmp_path, RUN).write("a", {}, {})
    (tmp_path / FINGERPRINT).unlink()
    with pytest.raises(StateMismatch, match="no known run"):
        RunStore(tmp_path, RUN)


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", lambda number: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    store = RunStore(tmp_path, RUN)
    assert {one.name for one in tmp_path.iterdir()} == {"file", FINGERPRINT}
    assert list(store.names()) == []


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..\\x"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name) -> None:
    with pytest.raises(ValueError, match="no name for a shard"):
        RunStore(tmp_path, RUN).write(name, {}, {})


def killed(folder: Path, die_at: int) -> int:
    command = [sys.executable, "-m", "tests.reconstruction.killed_run", str(folder), str(die_at)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, cwd=ROOT, env=environment, check=False).returncode


def test_a_run_killed_twice_ends_with_the_figures_of_one_that_was_not(tmp_path) -> None:
    expected = main(tmp_path / "whole", 0)
    assert expected["captured"] == 110

    assert killed(tmp_path / "killed", 41) == -signal.SIGKILL, "while gathering"
    assert killed(tmp_path / "killed", 62) == -signal.SIGKILL, "while scoring"
    leftover = tmp_path / "killed" / "scored-30-0of1" / ".writing-deadbeef-board.safetensors"
    leftover.write_bytes(b"half a shard")
    found = main(tmp_path / "killed", 0)
    assert {name: pytest.approx(values, abs=1e-9) for name, values in expected["figures"].items()} == found[
        "figures"
    ]
    assert found["captured"] < 30
    assert found["rows"] == expected["rows"]
    assert not leftover.exists()
    assert main(tmp_path / "killed", 0)["captured"] == 0, "a finished run has nothing left to capture"

    maps = {one.image_id: one for one in Artefacts(tmp_path / "killed").maps()}
    whole_maps = list(Artefacts(tmp_path / "whole").maps())
    assert len(whole_maps) == len(maps) == 30
    assert all(np.array_equal(one.loss, maps[one.image_id].loss) for one in whole_maps)


@pytest.mark.parametrize("name", ["state.safetensors", FINGERPRINT])
def test_a_damaged_file_is_named_and_what_to_do(tmp_path: Path, name: str) -> None:
    store = RunStore(tmp_path, {"model": "a"})
    store.write("state", {"x": torch.arange(100)}, {})
    path = tmp_path / name
    for content in (path.read_bytes()[:-5], b"", b"\xff" * 200, b"[" * 200_000 + b"]" * 200_000):
        path.write_bytes(content)
        with pytest.raises(DamagedState, match=rf"{name} cannot be read .*Remove {tmp_path},"):
            RunStore(tmp_path, {"model": "a"}).read("state")
        if name != FINGERPRINT:
            with pytest.raises(DamagedState, match="cannot be read"):
                store.tensor("state", "x")


def test_a_state_that_differs_in_much_is_told_in_ten_lines(tmp_path: Path) -> None:
    RunStore(tmp_path, {f"option {number:03}": "x" * 10_000 for number in range(300)})
    with pytest.raises(StateMismatch, match="and 291 more") as refused:
        RunStore(tmp_path, {"model": "a"})
    lines = str(refused.value).splitlines()
    assert len(lines) == 13
    assert lines[1] == "  model: the state has 'nothing', this run 'a'"
    assert len(str(refused.value)) < 5000
