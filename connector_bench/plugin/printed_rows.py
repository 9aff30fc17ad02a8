"""What lmms-eval prints of our tasks at the end of a run: a few rows, with the intervals that the record holds."""

from __future__ import annotations

import sys
from functools import wraps
from typing import Any

import lmms_eval.utils

from connector_bench.plugin.task_classes import RUNNING
from connector_bench.results.main_rows import main_rows

PRINTING = ("lmms_eval.__main__", "lmms_eval.evaluator", "lmms_eval.utils")
"""Modules that may hold the function that makes the table."""


def print_few_rows() -> None:
    """Let the printed table hold our tasks' main figures alone, unless `rows` or `CONNECTOR_BENCH_ROWS` is `all`.

    The result file, which lmms-eval writes before, holds every figure either way.
    """
    original = lmms_eval.utils.make_table
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def make_table(result_dict: dict[str, Any], column: str = "results", *more: Any, **options: Any) -> str:
        whole = {name for name, task in RUNNING.items() if task.rows == "all"}
        printed, said = main_rows(result_dict, whole) if column == "results" else (result_dict, [])
        return "\n".join([str(original(printed, column, *more, **options)), *said])

    for name in PRINTING:
        module = sys.modules.get(name)
        if module is not None and getattr(module, "make_table", None) is original:
            setattr(module, "make_table", make_table)  # noqa: B010 (the module's own name is typed as the original)
