"""Result files in lmms-eval's shape, for what a real run does not show: unusual records, names and failures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONNECTOR = {
    "model": "org/model",
    "family": "llava",
    "connector": "LlavaMultiModalProjector",
    "modules": ["model.multi_modal_projector"],
    "parameters": 1234,
    "dtype": "float32",
    "weights_sha256": "ab" * 32,
    "assumptions": [],
}


def score(value: float, half: float = 0.01, chance: float | None = None, n: int = 500) -> dict[str, Any]:
    """A record's score with an interval of this half width."""
    ends = {"low": value - half, "high": value + half}
    return {
        "value": value,
        **ends,
        "n": n,
        "chance": chance,
        "method": "95 % percentile bootstrap over images",
    }


def unknown(value: float, chance: float | None = None, n: int = 10, least: int = 20) -> dict[str, Any]:
    """A record's score of too few images for an interval."""
    none = {"low": None, "high": None, "method": f"no interval: {n} images, {least} are needed"}
    return {"value": value, **none, "n": n, "chance": chance}


def record(scores: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What connector_bench records of a task."""
    return {
        "connector": CONNECTOR,
        "protocol": "2",
        "n_images": 500,
        "options": {},
        "scores": dict(scores),
        **more,
    }


def write_result(
    folder: Path,
    records: Mapping[str, Mapping[str, Any]],
    metrics: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    date: str = "20260101_000000",
    **config: Any,
) -> Path:
    """`<date>_results.json` with our records and other tasks' metrics."""
    content = {
        "results": {task: {"alias": task} for task in records} | dict(metrics or {}),
        "configs": {task: {"metadata": {"connector_bench": dict(found)}} for task, found in records.items()}
        | {task: {"metadata": {"version": 1}} for task in metrics or {}},
        "config": {"model": "llava_hf", "model_args": "pretrained=org/model"} | config,
        "date": date,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{date}_results.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
