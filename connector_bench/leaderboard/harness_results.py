"""From an lmms-eval 0.7 result file to a `Run`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from connector_bench.harness_files import UnusableResult, read_result
from connector_bench.leaderboard.schema import Comparable, Connector, Figure, Run, TaskResult

SEEDS = ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")


def read_run(path: Path) -> Run:
    """One result file of lmms-eval. Raises UnusableResult for anything that is not a complete one."""
    found = read_result(path)
    content, records = found.content, found.records
    config = content["config"]
    if config.get("limit") not in (None, -1):
        raise UnusableResult(f"{path}: run with --limit {config['limit']}; figures of a part are not merged")
    if failed := {task: record["error"] for task, record in records.items() if "error" in record}:
        raise UnusableResult(f"{path}: " + "; ".join(f"{task} failed: {why}" for task, why in failed.items()))
    try:
        return _run(content, records)
    except (ValidationError, TypeError, KeyError, ValueError, AttributeError) as error:
        raise UnusableResult(f"{path}: {type(error).__name__}: {error}") from error


def _run(content: Mapping[str, Any], records: dict[str, dict[str, Any]]) -> Run:
    config = content["config"]
    connectors = [_connector(record["connector"]) for record in records.values() if "connector" in record]
    environments = list(records.values())
    versions = (
        environments[0]["versions"] if environments else {"lmms-eval": content.get("lmms_eval_version")}
    )
    tasks = {
        task: result for task in content["results"] if (result := _task(content, task, records.get(task, {})))
    }
    return Run(
        model=without_folders(connectors[0].model) if connectors else _model_name(config),
        date=str(content.get("date", "")),
        connector=connectors[0] if connectors else None,
        tasks=tasks,
        versions=versions,
        hardware=environments[0].get("hardware") if environments else None,
        seeds={name: config.get(name) for name in SEEDS},
    )


def _connector(given: dict[str, Any]) -> Connector:
    return Connector(**{**given, "model": without_folders(given["model"])})


def _model_name(config: Mapping[str, Any]) -> str:
    """The name under which a run without connector figures is filed: its checkpoint, else lmms-eval's model name."""
    model, model_args = str(config["model"]), config.get("model_args") or ""
    given = model_args if isinstance(model_args, Mapping) else dict(_pairs(model_args))
    if model == "connector_zoo":
        return f"connector_zoo/{given.get('connector', 'mlp')}-seed{given.get('seed', 0)}"
    return without_folders(
        str(given.get("pretrained") or given.get("model") or given.get("model_version") or model)
    )


def without_folders(name: str) -> str:
    """A checkpoint's name; of a path on somebody's machine only its last part."""
    path = Path(name)
    return path.name if path.is_absolute() or name.startswith((".", "~")) else name


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        key, separator, value = part.partition("=")
        if separator:
            yield key.strip(), value.strip()


def _task(content: Mapping[str, Any], task: str, record: Mapping[str, Any]) -> TaskResult | None:
    scores = record.get("scores", {})
    better = (content.get("higher_is_better") or {}).get(task, {})
    figures = {}
    for metric, value, stderr in _metrics(content["results"][task]):
        score = scores.get(metric, {})
        figures[metric] = Figure(
            value=value,
            stderr=stderr,
            low=score.get("low"),
            high=score.get("high"),
            chance=score.get("chance"),
            higher_is_better=better.get(metric),
        )
    if not figures:
        return None
    samples = (content.get("n-samples") or {}).get(task, {})
    comparable = Comparable(
        n=record.get("n_images") or samples["effective"],
        images_sha256=record.get("images_sha256"),
        protocol=record.get("protocol"),
        options=record.get("options", {}),
        version=str((content.get("versions") or {}).get(task)),
    )
    return TaskResult(comparable=comparable, figures=figures)


def _metrics(results: Mapping[str, Any]) -> Iterator[tuple[str, float, float | None]]:
    """Metric, value and standard error; lmms-eval writes `metric,filter` and the string N/A for a missing error."""
    for key, value in results.items():
        metric, _, kind = key.partition(",")
        if not kind or "_stderr" in metric or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not math.isfinite(value):
            raise ValueError(f"{metric} is {value}")
        stderr = results.get(f"{metric}_stderr,{kind}")
        name = metric if kind == "none" else f"{metric} ({kind})"
        yield (
            name,
            float(value),
            float(stderr) if isinstance(stderr, int | float) and math.isfinite(stderr) else None,
        )
