"""Output folders in the layout of lmms-eval 0.7.3, with documents made here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

STAMP = "20260101_000000"

CONNECTOR = {
    "model": "org/model",
    "family": "llava",
    "connector": "mlp",
    "parameters": 8,
    "weights_sha256": None,
}
RECORD = {"connector": CONNECTOR, "scores": {}}


def outcomes(share: float, n: int = 400, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(n) < share).astype(float)


def ordinary_task(
    values: Sequence[float], *, metric: str = "accuracy", per_image: int = 1, prompt: str = "what is it?"
) -> list[dict[str, Any]]:
    """Rows of a task that is not ours, `per_image` questions about each image."""
    return [
        {
            "doc_id": number,
            "target": f"answer {number}",
            "input": f"{prompt} {number}",
            "filtered_resps": "an answer",
            "image_id": f"image-{number // per_image}",
            metric: value,
        }
        for number, value in enumerate(values)
    ]


def our_task(rows: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """Rows of a connector task, one an image; figures stand in the answer as well as flat."""
    return [
        {
            "doc_id": number,
            "target": f"image-{number}",
            "input": "",
            "filtered_resps": json.dumps({"image": f"{number:064x}", **row}),
            "image": f"{number:064x}",
            **row,
        }
        for number, row in enumerate(rows)
    ]


def write_output(
    folder: Path,
    tasks: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    model: str = "org/model",
    figures: Mapping[str, Mapping[str, float]] | None = None,
    records: Mapping[str, Mapping[str, Any]] | None = None,
    better: Mapping[str, bool] | None = None,
) -> Path:
    """A result file and its sample files. Figures are means over documents where `figures` names none."""
    folder.mkdir(parents=True)
    given = figures or {}
    results: dict[str, dict[str, Any]] = {}
    for task, rows in tasks.items():
        own = given.get(task) or _means(rows)
        results[task] = {"alias": task} | {f"{metric},none": value for metric, value in own.items()}
        lines = "\n".join(json.dumps(row) for row in rows)
        (folder / f"{STAMP}_samples_{task}.jsonl").write_text(lines + "\n")
    content = {
        "results": results,
        "config": {"model": "llava_hf", "model_args": f"pretrained={model}", "limit": None},
        "configs": {
            task: {"metadata": {"version": 1} | ({"connector_bench": record} if record else {})}
            for task, record in ((task, (records or {}).get(task)) for task in tasks)
        },
        "higher_is_better": {
            task: dict(better or {"accuracy": True, "lost": False, "knor_10": True}) for task in tasks
        },
        "n-samples": {task: {"original": len(rows), "effective": len(rows)} for task, rows in tasks.items()},
        "date": STAMP,
    }
    (folder / f"{STAMP}_results.json").write_text(json.dumps(content))
    return folder


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = {name for row in rows for name, value in row.items() if isinstance(value, float)}
    return {
        name: sum(row[name] for row in rows if name in row) / sum(name in row for row in rows)
        for name in sorted(names)
    }
