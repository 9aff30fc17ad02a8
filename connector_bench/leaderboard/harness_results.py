"""From an lmms-eval 0.7 result file to a `Run`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from connector_bench.foreign_files import first_error
from connector_bench.leaderboard.loss_maps import loss_maps
from connector_bench.leaderboard.per_image import documents_sha256, per_image_values
from connector_bench.leaderboard.schema import (
    OVERLAP,
    Comparable,
    Connector,
    DrawnTogether,
    Figure,
    ProbeBudget,
    Provenance,
    StoredRun,
    TaskResult,
)
from connector_bench.metrics import metric as metric_of
from connector_bench.results.harness_files import ResultFile, UnusableResult, read_result
from connector_bench.results.names import folder_id, without_folders
from connector_bench.results.recorded_command import command_line, model_arguments
from connector_bench.results.scrub import cleaned, secrets_below
from connector_bench.results.tasks import RECONSTRUCTION, TaskMetric, TaskRun, most_tokens

SEEDS = ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")
FEWSHOT = ("num_fewshot", "repeats", "generation_kwargs", "dataset_name", "test_split")
"""Settings of a task that is not ours under which its figures are comparable."""

HALVED = (OVERLAP, "trustworthiness")
"""Figures of neighbours by which boards rank, and so tell two connectors apart."""
DIGITS = 6
NORMAL = "95 % normal interval from lmms-eval's standard error"


def read_run(path: Path) -> StoredRun:
    """One result file of lmms-eval by itself. Raises UnusableResult as `run_of`."""
    return run_of(read_result(path))


def run_of(file: ResultFile, name: str | None = None, pictures: bool = False) -> StoredRun:
    """What a board keeps of a result file, filed under `name` or under its own; `pictures` names its loss maps' ones.

    Raises UnusableResult for anything that is not a complete one, and where something secret would be kept.
    """
    path = file.path
    try:
        _require_whole(file)
        run = _run(file, name, pictures)
    except UnusableResult:
        raise
    except ValidationError as error:
        raise UnusableResult(f"{path}: {error.title}: {first_error(error)}") from error
    except (TypeError, LookupError, ValueError, AttributeError, ArithmeticError) as error:
        raise UnusableResult(f"{path}: {type(error).__name__}: {error}") from error
    for where, kind in secrets_below(run.model_dump(mode="json")):
        raise UnusableResult(
            f"{path}: {where} looks like {kind}; take it out of the result file, or use --name"
        )
    return StoredRun.model_validate_json(run.model_dump_json(exclude_none=True))


def _require_whole(file: ResultFile) -> None:
    if changed := next(iter(file.interventions.items()), None):
        task, done = changed
        raise UnusableResult(
            f"{file.path}: the connector's tokens were changed while the model answered {task} ({done['said']}), so "
            "its answers are not the model's and no board takes them"
        )
    limit = file.content["config"].get("limit")
    if limit not in (None, -1):
        raise UnusableResult(f"{file.path}: run with --limit {limit}; figures of a part are not merged")
    failed = {task: record["error"] for task, record in file.records.items() if "error" in record}
    if failed:
        raise UnusableResult(
            f"{file.path}: " + "; ".join(f"{task} failed: {why}" for task, why in failed.items())
        )


def _run(file: ResultFile, name: str | None, pictures: bool) -> StoredRun:
    records = file.records
    connectors = [_connector(record) for record in records.values() if "connector" in record]
    tasks = {
        task: result for task in file.tasks if (result := _task(TaskRun(file, task), pictures)) is not None
    }
    if not tasks:
        raise UnusableResult(f"{file.path}: no task in it has a figure")
    model = name or file.model
    return StoredRun(
        model=model,
        checkpoint=None if name else folder_id(file.checkpoint),
        provenance=_provenance(file, next(iter(records.values()), {}), list(tasks)),
        connector=connectors[0].model_copy(update={"model": model}) if connectors else None,
        tasks=tasks,
    )


def _provenance(file: ResultFile, record: Mapping[str, Any], tasks: list[str]) -> Provenance:
    content = file.content
    config = content["config"]
    arguments = model_arguments(config.get("model_args"))
    return Provenance(
        date=str(content.get("date", "")),
        wrapper=str(config["model"]),
        revision=arguments.shown.get("revision"),
        command=command_line(config, tasks, file.given_connector),
        left_out=arguments.left_out,
        versions=record.get("versions") or {"lmms-eval": content.get("lmms_eval_version")},
        hardware=record.get("hardware"),
        threads=record.get("threads"),
        seeds={seed: config.get(seed) for seed in SEEDS},
    )


def _connector(record: Mapping[str, Any]) -> Connector:
    given = record["connector"]
    known = {key: given[key] for key in Connector.model_fields if key in given}
    known["tokens"] = most_tokens(record)
    resolution = known.get("resolution")
    if isinstance(resolution, list | tuple):
        known["resolution"] = "x".join(map(str, resolution))
    return Connector(**{**known, "model": without_folders(str(known["model"]))})


def _task(task: TaskRun, pictures: bool) -> TaskResult | None:
    record, better = task.record, task.higher_is_better
    figures = {}
    for metric in task.metrics:
        if math.isfinite(metric.value):
            score = record.get("scores", {}).get(metric.name)
            figures[metric.name] = _figure(metric, score, better.get(metric.column))
        elif record:
            raise ValueError(f"{metric.name} is {metric.value}")
    if not figures:
        return None
    _require_agreement(figures, record.get("scores", {}))
    measure = task.measure
    comparable = _comparable(task)
    values = per_image_values(task, measure, comparable.n) if measure else {}
    return TaskResult(
        measure=measure,
        comparable=comparable,
        figures=figures,
        per_image={column: tuple(numbers) for column, numbers in values.items()},  # type: ignore[misc]
        halvings=_halvings(record.get("scores", {})),
        drawn_together=_drawn_together(record),
        probe=_probe(record) if measure == RECONSTRUCTION else None,
        loss_maps=loss_maps(task.file, task.name, pictures),
    )


def _halvings(scores: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """Those of the figures that boards rank neighbours by, where the run has them."""
    found = {metric: (scores.get(metric) or {}).get("halving_gaps") for metric in HALVED}
    return {metric: tuple(gaps) for metric, gaps in found.items() if gaps}


def _require_agreement(figures: Mapping[str, Figure], scores: Mapping[str, Any]) -> None:
    for metric, figure in figures.items():
        recorded = _number((scores.get(metric) or {}).get("value"))
        if recorded is not None and not math.isclose(recorded, figure.value, rel_tol=1e-4, abs_tol=1e-6):
            raise ValueError(
                f"{metric} is {figure.value} in the results and {recorded} in our record of the task"
            )


def _comparable(task: TaskRun) -> Comparable:
    record, config = task.record, task.config
    options = record.get("options") or {key: config[key] for key in FEWSHOT if config.get(key) is not None}
    if task.n is None:
        raise ValueError(f"{task.name} does not say how many documents it has")
    return Comparable(
        n=task.n,
        images_sha256=record.get("images_sha256"),
        train_sha256=record.get("train_sha256"),
        documents_sha256=None if record else documents_sha256(task),
        protocol=record.get("protocol"),
        options={name: value for name, value in cleaned(options).items() if value is not None},
        version=task.version,
    )


def _drawn_together(record: Mapping[str, Any]) -> DrawnTogether | None:
    given = record.get("drawn_together")
    return given and DrawnTogether(**{name: given[name] for name in DrawnTogether.model_fields})


def _probe(record: Mapping[str, Any]) -> ProbeBudget:
    given = record.get("probes") or {}
    return ProbeBudget(
        train_images=record.get("train_images"),
        best_probe=record.get("best_probe"),
        more_data_helps=record.get("more_data_helps"),
        probes={
            probe: {key: value for key, value in found.items() if not isinstance(value, list | dict)}
            for probe, found in given.items()
        },
    )


def _figure(metric: TaskMetric, score: Mapping[str, Any] | None, better: bool | None) -> Figure:
    """`score` is what the run recorded of a figure of ours.

    Without an interval there lmms-eval's standard error gives none either: it takes images for independent.
    """
    stderr = _number(metric.stderr)
    ours, score = score is not None, score or {}
    low, high, method = _number(score.get("low")), _number(score.get("high")), score.get("method")
    known = low is not None and high is not None
    if ours and not known:
        stderr = None
    elif not known and metric.ends is not None:
        (low, high), method = map(_number, metric.ends), NORMAL
    entry = metric_of(metric.name)
    return Figure(
        value=_short(metric.value),
        low=low,
        high=high,
        method=method,
        stderr=None if stderr is None else _short(stderr),
        n=score.get("n"),
        k=None if entry is None else entry.k,
        chance=_number(score.get("chance")),
        p=_number(score.get("p")),
        higher_is_better=better,
    )


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return _short(float(value))
