"""What every command answers in a terminal: help, versions, completion."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from connector_bench import __version__
from connector_bench.cli import app
from connector_bench.plugin.task_classes import printed_rows
from tests.harness import script


def commands(command: Any, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, *path, name)


def test_every_command_has_a_short_help() -> None:
    found = list(commands(typer.main.get_command(app)))
    assert len(found) > 25
    for path in found:
        asked = CliRunner().invoke(app, [*path, "-h"])
        assert asked.exit_code == 0, path
        assert "Usage" in asked.output, path


def test_versions() -> None:
    said = [CliRunner().invoke(app, words).output for words in (["--version"], ["version"])]
    assert said[0] == said[1]
    assert said[0].startswith(f"connector-bench {__version__}, measurement protocol ")


def test_a_shell_completes_commands() -> None:
    asked = {
        "_CONNECTOR_BENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": "connector-bench rep",
        "COMP_CWORD": "1",
    }
    found = subprocess.run(
        [script("connector-bench")], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert found.stdout.split() == ["report"]


def test_the_environment_asks_for_all_rows_of_every_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECTOR_BENCH_ROWS", "all")
    assert printed_rows("main") == "all"
    monkeypatch.setenv("CONNECTOR_BENCH_ROWS", "few")
    with pytest.raises(ValueError, match=r"CONNECTOR_BENCH_ROWS must be one of main, all, got 'few'"):
        printed_rows("main")


@pytest.mark.parametrize("given", ["few", 3, None, ["all"]])
def test_rows_that_are_not_allowed_are_named(given: object) -> None:
    assert printed_rows("all") == "all"
    with pytest.raises(ValueError, match=r"rows must be one of main, all, got "):
        printed_rows(given)
