"""Runs the real lmms-eval command line: in this process, since several runs then cost seconds each, or in a new one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonlines

from connector_bench.results.harness_files import result_files


@dataclass(frozen=True)
class Outcome:
    """What one run left in its output folder."""

    folder: Path

    @property
    def content(self) -> dict[str, Any]:
        (path,) = result_files([self.folder])
        return json.loads(path.read_text())

    def figures(self, task: str) -> dict[str, Any]:
        return {key.removesuffix(",none"): value for key, value in self.content["results"][task].items()}

    def record(self, task: str) -> dict[str, Any]:
        return self.content["configs"][task]["metadata"]["connector_bench"]

    def samples(self, task: str) -> list[dict[str, Any]]:
        (path,) = self.folder.rglob(f"*_samples_{task}.jsonl")
        with jsonlines.open(path) as lines:
            return list(lines)


def run_here(folder: Path, *arguments: str) -> Outcome:
    """`lmms-eval ARGUMENTS` in this process."""
    from lmms_eval.cli.dispatch import main

    before = sys.argv
    sys.argv = ["lmms-eval", *arguments, "--output_path", str(folder), "--log_samples"]
    try:
        main()
    finally:
        sys.argv = before
    return Outcome(folder)


def run_command(folder: Path, command: list[str], *arguments: str, **environment: str) -> tuple[Outcome, str]:
    """A command line of its own, started in an empty folder outside the checkout; its output is returned too."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(parents=True)
    finished = subprocess.run(
        [*command, *arguments, "--output_path", str(folder), "--log_samples"],
        cwd=elsewhere,
        env=os.environ | {"HF_HUB_OFFLINE": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(folder), finished.stdout + finished.stderr


def script(name: str) -> str:
    """A console script of the environment that runs the tests."""
    return str(Path(sys.executable).parent / name)
