"""Runs of a sweep one after the other, each in a process and a folder of its own; done ones are not run again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from connector_bench.atomic_files import make_folder
from connector_bench.connectors.given import MODULE, WEIGHTS
from connector_bench.foreign_files import without_colours
from connector_bench.interventions.intervention import VARIABLE as INTERVENE
from connector_bench.results.harness_files import UnusableResult, read_result, result_files
from connector_bench.results.models import models_of
from connector_bench.sweep.plan import SweepRun
from connector_bench.sweep.run_lock import held

RUNS, LOG = "runs", "log.txt"
TELLING = re.compile(r"(error|exception|refused|nothing was measured|cannot|not found)", re.IGNORECASE)
PREFIX = re.compile(r"^[\d-]+ [\d:.]+ *\| *[A-Z]+ *\| *\S+ - ")
"""Time, level and place of a line of loguru."""
LONGEST, END = 400, 120
"""Characters of a telling line, and those of its end."""


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
        folder, head = output / RUNS / run.folder, f"{number}/{len(runs)} {run.name}: "
        begun = time.monotonic()
        make_folder(folder)
        waits = partial(say, f"{head}waiting for a process that runs it already")
        with held(folder, waits) as lock:
            if _missing(folder) is None:
                outcome, said = RunOutcome(run, folder, skipped=True), "there already"
            elif (why := _run(run, folder, lock)) is None:
                outcome, said = RunOutcome(run, folder), f"done in {time.monotonic() - begun:.0f} s"
            else:
                outcome, said = RunOutcome(run, folder, why), f"FAILED, {why}"
        say(f"{head}{said}")
        found.append(outcome)
    return found


def _end(number: int, frame: object) -> NoReturn:
    """Leave through the run that is going on, which is ended too."""
    raise SystemExit(128 + number)


def _run(run: SweepRun, folder: Path, lock: int | None) -> str | None:
    """Why it has no results, None where it has."""
    weights = run.environment.get(WEIGHTS)
    if weights is not None and not Path(weights).expanduser().exists():
        return f"there is no {Path(weights).expanduser().absolute()}"
    _remove_broken(folder)
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            [*run.command, "--output_path", str(folder)],
            env=_without_given(os.environ) | dict(run.environment),
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=() if lock is None else (lock,),
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
    models = models_of(files).values()
    failed = {name: why for model in models for name, why in model.failed.items()}
    failed |= {
        task.name: "its documents were not written"
        for model in models
        for task in model.tasks
        if task.effective and not task.has_samples
    }
    return "; ".join(f"{name}: {why}" for name, why in failed.items()) or None


def _remove_broken(folder: Path) -> None:
    """Remove result files that a run was killed over: the next one's lie beside them, and all are read."""
    for path in folder.rglob("*_results.json"):
        try:
            read_result(path)
        except UnusableResult:
            path.unlink()


def _last_words(log: Path) -> str | None:
    """The last line of a log that tells what went wrong."""
    lines = without_colours(log.read_text(encoding="utf-8", errors="replace")).splitlines()
    telling = [line.strip() for line in lines if TELLING.search(line)]
    return _shortened(PREFIX.sub("", telling[-1])) if telling else None


def _shortened(line: str) -> str:
    """Its beginning, the cause where a list of what is allowed follows, and its end, the cause of a chain."""
    if len(line) <= LONGEST:
        return line
    return f"{line[: LONGEST - END - 3]} … {line[-END:]}"


def done(outcomes: Sequence[RunOutcome]) -> list[RunOutcome]:
    """Those that have results."""
    return [outcome for outcome in outcomes if outcome.failed is None]
