"""The plugin's door: an unknown harness is named, a known one is served."""

import pytest
from loguru import logger

from connector_bench import entry


@pytest.mark.parametrize("version", ["0.7.3", "0.7.9"])
def test_known(version: str) -> None:
    assert entry.harness_problem(version) is None


@pytest.mark.parametrize("version", ["0.7.2", "0.8.0", "1.0", "0.6.1"])
def test_unknown_versions_are_named_beside_ours(version: str) -> None:
    problem = entry.harness_problem(version)
    assert problem is not None
    assert f"lmms-eval {version} is installed" in problem
    assert f"connector-bench {entry.__version__}" in problem


def test_an_unknown_harness_is_said_once_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "version", lambda package: "9.9")
    said: list[str] = []
    sink = logger.add(said.append, level="ERROR", format="{message}")
    try:
        assert entry.register() == []
    finally:
        logger.remove(sink)
    assert len(said) == 1
    assert "lmms-eval 9.9" in said[0]


def test_registering_twice_changes_nothing_more() -> None:
    from lmms_eval.tasks import TaskManager

    entry.register()
    once = TaskManager.initialize_tasks
    (manifest,) = entry.register()
    assert TaskManager.initialize_tasks is once
    assert manifest.model_id == "connector_zoo"
