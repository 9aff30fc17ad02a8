"""The request type: all documents of a run in, one answer each, whatever fails."""

from __future__ import annotations

import json
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from loguru import logger

from connector_bench.environment import environment
from connector_bench.plugin.intervened_answers import refuse_unused
from connector_bench.plugin.run_tasks import OF_THE_RUN
from connector_bench.plugin.task_classes import RUNNING, ConnectorTask
from connector_bench.processes import error_text, gather_all, rank_and_size, watched
from connector_bench.run.measurement import Failed, TaskFigures
from connector_bench.run.running import measure_tasks

LONGEST = 3
"""Parts of a run whose times are told."""


def measure_connector(lm: lmms, requests: list[Instance]) -> list[str]:
    """The request type's method on every model: all of this rank's documents in, one JSON answer each.

    A failure is logged, recorded and answered as an error rather than raised, because the same run may hold hours
    of other tasks' answers that an exception here would lose. A signal, and the loss of another process, end this one.
    """
    refuse_unused()
    OF_THE_RUN.complete()
    with watched():
        return _measured(lm, requests)


def _measured(lm: lmms, requests: list[Instance]) -> list[str]:
    begun = perf_counter()
    names = gather_all(list(dict.fromkeys(request.task_name for request in requests)))
    tasks = {name: RUNNING[name] for part in names for name in part}
    try:
        found = measure_tasks(
            lm,
            lambda: [tasks[r.task_name].document(r.doc_id, r.metadata["split"]) for r in requests],
            tasks,
            lambda: next(iter(tasks.values())).output,
        )
    except Exception as error:
        logger.opt(exception=True).debug("where it failed")
        found = {name: Failed(error_text(error)) for name in tasks}
        for task in tasks.values():
            task.record.update(error=error_text(error), **environment())
    if rank_and_size()[0] == 0:
        _log(found)
        _log_time(tasks, perf_counter() - begun)
    return [json.dumps(_answer(found[r.task_name], r.doc_id)) for r in requests]


def _log(found: Mapping[str, TaskFigures | Failed]) -> None:
    failed: dict[str, list[str]] = {}
    for name, outcome in found.items():
        if isinstance(outcome, Failed):
            failed.setdefault(outcome.error, []).append(name)
        else:
            for warning in outcome.warnings:
                logger.warning(f"{name}: {warning}")
    for error, names in failed.items():
        logger.error(f"{', '.join(names)} gave no figures. {error}")


def _log_time(tasks: Mapping[str, ConnectorTask], seconds: float) -> None:
    """One line on what was measured and where the time went, once the bars are gone."""
    ran: dict[str, float] = next(
        (task.record["ran"]["seconds"] for task in tasks.values() if "ran" in task.record), {}
    )
    longest = sorted(ran, key=lambda part: -ran[part])[:LONGEST]
    parts = ", ".join(f"{part} {ran[part]:.0f} s" for part in longest if ran[part] >= 1)
    logger.info(f"{', '.join(tasks)}: measured in {seconds:.0f} s" + (f", of it {parts}" if parts else ""))


def _answer(outcome: TaskFigures | Failed, doc_id: int) -> dict[str, Any]:
    return {"error": outcome.error} if isinstance(outcome, Failed) else outcome.answers[doc_id]
