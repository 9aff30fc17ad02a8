"""Runs of a sweep one after the other, each in a process and a folder of its own; done ones are not run again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from connector_bench.connectors.given import MODULE, WEIGHTS
from connector_bench.interventions.intervention import VARIABLE as INTERVENE
from connector_bench.results.harness_files import UnusableResult, read_result, result_files
from connector_bench.results.models import models_of
from connector_bench.sweep.plan import SweepRun

RUNS, LOG = "runs", "log.txt"
TELLING = re.compile(r"(error|exception|refused|nothing was measured|cannot|not found)", re.IGNORECASE)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LONGEST = 400


@dataclass(frozen=True)
class RunOutcome:
    """A run, and its results or why there are none."""

    run: SweepRun
    folder: Path
    failed: str | None = None
    skipped: bool = False
    """Whether it was there already."""


def execute(runs: Sequence[SweepRun], output: Path, say: Callable[[str], None]) -> list[RunOutcome]:
    """Run all that is not there yet. A run that fails costs the others nothing."""
    signal.signal(signal.SIGTERM, _end)
    found = []
    for number, run in enumerate(runs, start=1):
        folder = output / RUNS / run.folder
        begun = time.monotonic()
        if folder.is_dir() and _missing(folder) is None:
            outcome = RunOutcome(run, folder, skipped=True)
            said = "there already"
        else:
            outcome = RunOutcome(run, folder, _run(run, folder))
            said = (
                f"done in {time.monotonic() - begun:.0f} s"
                if outcome.failed is None
                else f"FAILED, {outcome.failed}"
            )
        say(f"{number}/{len(runs)} {run.name}: {said}")
        found.append(outcome)
    return found


def _end(number: int, frame: object) -> NoReturn:
    """Leave through the run that is going on, which is ended too."""
    raise SystemExit(128 + number)


def _run(run: SweepRun, folder: Path) -> str | None:
    """Why it has no results, None where it has."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            [*run.command, "--output_path", str(folder)],
            env=_without_given(os.environ) | dict(run.environment),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if (missing := _missing(folder)) is None:
        return None
    return _last_words(folder / LOG) or f"{missing} (status {process.returncode})"


def _without_given(environment: Mapping[str, str]) -> dict[str, str]:
    """A shell's variables but for its own connector and intervention: what a run measures the sweep alone says."""
    return {name: value for name, value in environment.items() if name not in (WEIGHTS, MODULE, INTERVENE)}


def _missing(folder: Path) -> str | None:
    """What keeps a folder's results from being whole; lmms-eval exits with 0 whatever happens."""
    try:
        files = [read_result(path) for path in result_files([folder])]
    except UnusableResult as error:
        return str(error)
    failed = {name: why for model in models_of(files).values() for name, why in model.failed.items()}
    return "; ".join(f"{name}: {why}" for name, why in failed.items()) or None


def _last_words(log: Path) -> str | None:
    """The last line of a log that tells what went wrong."""
    lines = COLOUR.sub("", log.read_text(encoding="utf-8", errors="replace")).splitlines()
    telling = [line.strip() for line in lines if TELLING.search(line)]
    return telling[-1][-LONGEST:] if telling else None


def done(outcomes: Sequence[RunOutcome]) -> list[RunOutcome]:
    """Those that have results."""
    return [outcome for outcome in outcomes if outcome.failed is None]
