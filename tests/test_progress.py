"""Long work shows its name, short work nothing, and nothing is shown off the first rank."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from connector_bench import atomic_files, progress
from connector_bench.reconstruction import store
from connector_bench.reconstruction.learning import ProbeLearner
from connector_bench.reconstruction.probes import linear
from connector_bench.types import TokenBatch
from tests.reconstruction.planted import images, small_config


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.1)
    monkeypatch.setattr(progress, "TICK_IN_A_LOG", 0.05)


def test_long_work_shows_its_name_and_the_time_so_far(capfd: pytest.CaptureFixture[str]) -> None:
    with progress.doing("a decomposition"):
        time.sleep(0.4)
    said = capfd.readouterr().err
    assert said.count("a decomposition: 00:0") >= 3
    for _ in progress.steps(range(8), "searching", total=8):
        time.sleep(0.1)
    assert "searching: 100%" in capfd.readouterr().err


def test_reading_and_writing_state_and_probes_show_their_names(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(atomic_files, "_flush", lambda path: time.sleep(0.2))
    monkeypatch.setattr(store, "opened_shard", slowly(store.opened_shard))
    monkeypatch.setattr(linear, "_gaussian", slowly(linear._gaussian))
    given = dict(images(60))
    for number in (30, 60):
        learner = ProbeLearner(small_config(), folder=tmp_path, fingerprint={}, every=1000)
        learner.begin(given, [])
        for name, pair in [*given.items()][:number]:
            if learner.wants(name):
                learner.learn(TokenBatch.of([name], [pair]))
        assert learner._gathered is not None
        learner._gathered.flush()
    learner.fit()
    ProbeLearner(small_config(), folder=tmp_path, fingerprint={}).begin(given, [])
    said = capfd.readouterr().err
    for title in (
        "reading the training state",
        "drawing the controls' rotation and projection",
        "writing the probes",
        "reading the probes",
    ):
        assert f"{title}: 00:0" in said, title


def slowly(work: Callable[..., Any]) -> Callable[..., Any]:
    def slow(*given: Any) -> Any:
        time.sleep(0.3)
        return work(*given)

    return slow


def test_short_work_shows_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with progress.doing("a decomposition"):
        pass
    with pytest.raises(ValueError, match="in the middle"), progress.doing("a decomposition"):
        raise ValueError("in the middle")
    list(progress.steps(range(8), "searching", total=8))
    assert capfd.readouterr().err.strip() == ""


def test_other_ranks_show_nothing(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    with progress.doing("a decomposition"):
        time.sleep(0.3)
    for _ in progress.steps(range(3), "searching", total=3):
        time.sleep(0.1)
    assert capfd.readouterr().err.strip() == ""
