"""Result files of runs that began in one folder in the same second, which lmms-eval names alike."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

from lmms_eval.loggers.evaluation_tracker import EvaluationTracker
from loguru import logger

from connector_bench.results.file_schema import RECORD_KEY

STAMP = "%Y%m%d_%H%M%S"
"""How lmms-eval writes the second in which a run began, before the names of its files."""


def keep_result_files_apart() -> None:
    """Let a run that measured connectors name its files by the next second that no other run has taken."""
    original = EvaluationTracker.save_results_aggregated
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def save_results_aggregated(
        self: EvaluationTracker, results: dict[str, Any], samples: Any, datetime_str: str
    ) -> None:
        if self.output_path and _measured_connectors(results):
            folder = Path(self.output_path) / self.general_config_tracker.model_name_sanitized
            taken, datetime_str = datetime_str, free_stamp(folder, datetime_str)
            if taken != datetime_str:
                logger.warning(
                    f"another run began in this second and has {taken}_results.json in {folder}: this one's files "
                    f"begin with {datetime_str}"
                )
        original(self, results=results, samples=samples, datetime_str=datetime_str)

    EvaluationTracker.save_results_aggregated = save_results_aggregated


def _measured_connectors(results: dict[str, Any]) -> bool:
    described = [config.get("metadata") for config in results["configs"].values()]
    return any(isinstance(one, dict) and RECORD_KEY in one for one in described)


def free_stamp(folder: Path, stamp: str) -> str:
    """This stamp, or the first later one, whose result file is not there; it is made, empty, for this run alone.

    The stamp as it came where the folder cannot be written: then there will be no result file at all.
    """
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    free = stamp
    while True:
        try:
            (folder / f"{free}_results.json").touch(exist_ok=False)
            return free
        except FileExistsError:
            free = (datetime.strptime(free, STAMP) + timedelta(seconds=1)).strftime(STAMP)
        except OSError:
            return stamp
