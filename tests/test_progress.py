"""Long work shows its name, short work nothing, and nothing is shown off the first rank."""

import time

import pytest
import torch.distributed as dist

from connector_bench import progress


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
