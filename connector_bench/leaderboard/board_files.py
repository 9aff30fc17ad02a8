"""The committed results: one JSON a run under `leaderboard/results/`, and where the package's own board lies."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from connector_bench.foreign_files import file_inside, first_error, read_json
from connector_bench.leaderboard.schema import SCHEMA_VERSION, StoredRun
from connector_bench.results.harness_files import ResultFile, UnusableResult
from connector_bench.results.names import folder_id, tails

RESULTS = "results"
PACKAGE = Path(__file__).parent.parent


def shipped_board() -> Path:
    """Folder of the zoo's board in an installed package; in a checkout the checkout's own.

    Raises:
        FileNotFoundError: the installation has lost it.
    """
    for board in (PACKAGE / "board", PACKAGE.parent / "leaderboard"):
        if any((board / RESULTS).glob("*.json")):
            return board
    raise FileNotFoundError(
        f"the board that belongs to the package is not in {PACKAGE / 'board'}; install it again"
    )


def run_path(board: Path, run: StoredRun) -> Path:
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


def run_text(run: StoredRun) -> str:
    """A run as its committed file holds it: one figure a line, so that a change to it can be read."""
    return _laid_out(run.model_dump(mode="json", exclude_none=True)) + "\n"


def _laid_out(value: Any, indent: str = "") -> str:
    """JSON in ASCII; an object that holds objects takes a line for each entry, anything else takes one line."""
    if not isinstance(value, dict) or not any(isinstance(item, dict) for item in value.values()):
        return json.dumps(value)
    deeper = f"{indent} "
    entries = (f"{deeper}{json.dumps(key)}: {_laid_out(item, deeper)}" for key, item in value.items())
    return "{\n" + ",\n".join(entries) + f"\n{indent}}}"


def stored_runs(board: Path) -> list[StoredRun]:
    """All committed runs, oldest first. Raises UnusableResult naming a file that does not hold to the schema."""
    runs = [_read(path) for path in sorted((board / RESULTS).glob("*.json"))]
    return sorted(runs, key=lambda run: run.provenance.date)


def name_on_board(file: ResultFile, stored: Sequence[StoredRun]) -> str:
    """The name that a file's checkpoint has on a board, else the shortest that no other checkpoint has there.

    Local folders are told apart by their whole path, or by their connector's weights where an older run recorded none.
    """
    mine = folder_id(file.checkpoint)
    known = [run.model for run in stored if mine is not None and run.checkpoint == mine]
    if mine is None or known:
        return known[-1] if known else file.model
    taken = {run.model for run in stored if run.checkpoint or len({None, _weights(run), file.weights}) > 2}
    shorter = tails(file.checkpoint)
    longer = [tail for tail in shorter if len(tail) > len(file.model)]
    return next((name for name in (file.model, *longer) if name not in taken), f"{shorter[0]} ({mine})")


def is_the_same_run(run: StoredRun, file: ResultFile) -> bool:
    """Whether a stored run was made of this file, under whatever name."""
    return (
        run.provenance.date == file.date
        and _weights(run) == file.weights
        and set(run.tasks) <= set(file.tasks)
    )


def _weights(run: StoredRun) -> str | None:
    return run.connector.weights_sha256 if run.connector else None


def _read(path: Path) -> StoredRun:
    try:
        content = read_json(file_inside(path.parent, path.name))
        version = content["schema_version"]
        if version != SCHEMA_VERSION:
            raise UnusableResult(
                f"{path}: schema version {version}, this connector-bench reads {SCHEMA_VERSION}; add the run again "
                "from lmms-eval's result file, or use the connector-bench that wrote it"
            )
        return StoredRun.model_validate(content)
    except UnusableResult:
        raise
    except ValidationError as error:
        raise UnusableResult(f"{path}: {first_error(error)}") from error
    except (ValueError, LookupError, TypeError, OSError) as error:
        raise UnusableResult(f"{path}: {type(error).__name__}: {error}") from error
