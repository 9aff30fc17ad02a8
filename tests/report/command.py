"""The command as a test calls it."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from connector_bench.cli import app


def report(results: Path, output: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["report", str(results), "-o", str(output), *more])
