"""The committed results: one JSON a run under `leaderboard/results/`."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from connector_bench.leaderboard.schema import SCHEMA_VERSION, Run
from connector_bench.results.harness_files import UnusableResult

RESULTS = "results"


def run_path(board: Path, run: Run) -> Path:
    """Where a run is kept; nothing of a model's name can lead out of the folder, and no two runs share a file.

    Adding the same run again gives the same path: model, date and tasks are what tells runs apart.
    """
    date = run.provenance.date
    model, stamp = (
        re.sub(r"[^A-Za-z0-9._-]+", "_", part).strip("._") or "unnamed" for part in (run.model, date)
    )
    identity = json.dumps([run.model, date, sorted(run.tasks)])
    return (
        board
        / RESULTS
        / f"{model[:80]}__{stamp[:20]}__{hashlib.sha256(identity.encode()).hexdigest()[:8]}.json"
    )


def run_text(run: Run) -> str:
    """A run as its committed file holds it: one figure a line, so that a change to it can be read."""
    return _laid_out(run.model_dump(mode="json", exclude_none=True)) + "\n"


def _laid_out(value: Any, indent: str = "") -> str:
    """JSON in ASCII; an object that holds objects takes a line for each entry, anything else takes one line."""
    if not isinstance(value, dict) or not any(isinstance(item, dict) for item in value.values()):
        return json.dumps(value)
    deeper = f"{indent} "
    entries = (f"{deeper}{json.dumps(key)}: {_laid_out(item, deeper)}" for key, item in value.items())
    return "{\n" + ",\n".join(entries) + f"\n{indent}}}"


def stored_runs(board: Path) -> list[Run]:
    """All committed runs, oldest first. Raises UnusableResult naming a file that does not hold to the schema."""
    runs = [_read(path) for path in sorted((board / RESULTS).glob("*.json"))]
    return sorted(runs, key=lambda run: run.provenance.date)


def _read(path: Path) -> Run:
    try:
        content = json.loads(path.read_bytes())
        version = content["schema_version"]
        if version != SCHEMA_VERSION:
            raise UnusableResult(
                f"{path}: schema version {version}, this connector-bench reads {SCHEMA_VERSION}; add the run again "
                "from lmms-eval's result file, or use the connector-bench that wrote it"
            )
        return Run.model_validate(content)
    except UnusableResult:
        raise
    except (ValueError, LookupError, TypeError, RecursionError, OSError) as error:
        raise UnusableResult(f"{path}: {type(error).__name__}: {error}") from error
