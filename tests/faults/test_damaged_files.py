"""Damaged and foreign files through every command that reads files: one sentence, no change, nothing half written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from connector_bench.cli import app
from tests.faults.damaged import COMMANDS, faults_of
from tests.faults.real_runs import two_models

COUNT = int(os.environ.get("CONNECTOR_BENCH_FAULTS", "0"))
"""Files that are damaged for each command; `make faults` asks for 2,000, otherwise a few are."""
SHORT = {"compare": 10, "analyze": 20, "report": 3, "plates": 30, "leaderboard": 60}


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real runs of two models, and a board that holds them."""
    folder = tmp_path_factory.mktemp("originals")
    two_models(folder / "runs")
    (folder / "out").mkdir()
    board = ["leaderboard", "add", str(folder / "runs"), "--pictures", "--board", str(folder / "out" / "b")]
    result = CliRunner().invoke(app, board)
    assert result.exit_code == 0, result.output
    return folder


@pytest.mark.faults
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_damaged_file_costs_one_sentence(command: str, originals: Path, tmp_path: Path) -> None:
    assert faults_of(command, originals, tmp_path, range(COUNT or SHORT[command])) == []
