"""The committed results: one JSON a run under `leaderboard/results/`, written whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from pydantic import ValidationError

from connector_bench.harness_files import UnusableResult
from connector_bench.leaderboard.schema import Run

RESULTS = "results"


def run_path(board: Path, run: Run) -> Path:
    """Where a run is kept; nothing of a model's name can lead out of the folder."""
    model, date = (
        re.sub(r"[^A-Za-z0-9._-]+", "_", part).strip("._") or "unnamed" for part in (run.model, run.date)
    )
    return board / RESULTS / f"{model[:120]}__{date[:40]}.json"


def stored_runs(board: Path) -> list[Run]:
    """All committed runs, oldest first. Raises UnusableResult naming a file that does not hold to the schema."""
    runs = []
    for path in sorted((board / RESULTS).glob("*.json")):
        try:
            runs.append(Run.model_validate_json(path.read_bytes()))
        except (ValidationError, OSError) as error:
            raise UnusableResult(f"{path}: {error}") from error
    return sorted(runs, key=lambda run: run.date)


def write_whole(path: Path, text: str) -> None:
    """Replace a file so that a reader finds the old or the new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
