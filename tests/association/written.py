"""Writes runs as lmms-eval 0.7 leaves them: a result file and one sample file a task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonlines
import numpy as np

MODEL = "connector_zoo/rank8-seed0"
DATA_SET = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "/somewhere/scenes.json"}}}
HASH = "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"

Rows = Sequence[Mapping[str, Any]]


def connector_row(doc_id: int, target: str, answer: Mapping[str, Any], question: str = "") -> dict[str, Any]:
    """A sample row of one of our tasks: the answer as JSON, and its figures flat beside it."""
    common = {"doc_id": doc_id, "target": target, "filtered_resps": json.dumps(answer)}
    return {**common, "token_counts": [None], "doc_hash": HASH, **answer, "input": question}


def scored_row(doc_id: int, target: str, question: str, **columns: Any) -> dict[str, Any]:
    """A sample row of any other task."""
    common = {"doc_id": doc_id, "target": target, "filtered_resps": "an answer"}
    return {**common, "token_counts": [None], "doc_hash": HASH, **columns, "input": question}


def write_run(
    folder: Path,
    *,
    connector: Mapping[str, Rows] = {},
    scored: Mapping[str, Rows] = {},
    metrics: Sequence[str] = ("accuracy",),
    model: str = MODEL,
    stamp: str = "20260101_000000",
    weights: str = "a" * 64,
    data_set: Mapping[str, Any] = DATA_SET,
    record: Mapping[str, Any] = {},
) -> Path:
    """One run's files; returns the result file."""
    folder.mkdir(parents=True, exist_ok=True)
    family = model.split("/", 1)[0]
    ours = {
        "connector": {"model": model, "family": family, "connector": "rank8", "weights_sha256": weights}
        | {"modules": ["connector"], "parameters": 8, "dtype": "float32"},
        "protocol": "2",
        "images_sha256": "b" * 64,
        **record,
    }
    configs = {task: {**data_set, "test_split": "test", "metadata": {"version": 1}} for task in scored}
    configs |= {
        task: {**data_set, "test_split": "test", "metadata": {"version": 1, "connector_bench": ours}}
        for task in connector
    }
    content = {
        "results": {task: _aggregated(rows, metrics) for task, rows in {**connector, **scored}.items()},
        "configs": configs,
        "higher_is_better": {task: dict.fromkeys(metrics, True) for task in scored},
        "n-samples": {task: {"effective": len(rows)} for task, rows in {**connector, **scored}.items()},
        "config": {**_arguments(model), "limit": None},
        "date": stamp,
    }
    path = folder / f"{stamp}_results.json"
    path.write_text(json.dumps(content))
    for task, rows in {**connector, **scored}.items():
        with jsonlines.open(folder / f"{stamp}_samples_{task}.jsonl", "w") as lines:
            lines.write_all(rows)
    return path


def _arguments(model: str) -> dict[str, str]:
    if not model.startswith("connector_zoo/"):
        return {"model": "llava_hf", "model_args": f"pretrained={model}"}
    connector, seed = model.removeprefix("connector_zoo/").rsplit("-seed", 1)
    return {"model": "connector_zoo", "model_args": f"connector={connector},seed={seed}"}


def _aggregated(rows: Rows, metrics: Sequence[str]) -> dict[str, Any]:
    """Means of numbers, and the empty list that lmms-eval has for what a task passes through."""
    known = {"doc_id", "target", "input", "filtered_resps", "token_counts", "doc_hash"}
    found: dict[str, Any] = {"alias": "a task"}
    for column in dict.fromkeys(key for row in rows for key in row if key not in known):
        values = [row[column] for row in rows if isinstance(row.get(column), int | float)]
        if values:
            found[f"{column},none"] = float(np.mean(values))
            found[f"{column}_stderr,none"] = "N/A"
        else:
            found[f"{column},none"] = 0.5 if column in metrics else []
    return found


def scenes(
    rng: np.random.Generator, images: int, questions: int, effect: float, *, confounder: float = 0.0
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of patch_reconstruction and of a VQA task on the same questions.

    A question fails more often the more is lost inside its mask (`effect`, on the logit scale), and loss and failure
    both fall with the mask's area (`confounder`). Loss outside the mask is noise, and so is the image's loss.
    """
    ours, theirs = [], []
    for image in range(images):
        name = f"{image:064x}"
        whole = {
            "lost": rng.uniform(0.1, 0.9),
            "entropy": rng.uniform(4, 8),
            "encoder_norm": rng.uniform(9, 11),
        }
        for question in range(questions):
            doc_id = image * questions + question
            text, target = f"what is it? ({doc_id})", f"answer {doc_id % 7}"
            area = rng.normal()
            inside = rng.normal() - confounder * area
            fails = rng.random() < 1 / (1 + np.exp(-(effect * inside - confounder * area)))
            masked = {
                "loss_inside": float(np.exp(0.3 * inside)),
                "loss_outside": rng.uniform(0.2, 1),
                "norm_inside": rng.uniform(0, 1),
                "norm_outside": rng.uniform(0, 1),
                "cosine_inside": rng.uniform(0, 1),
                "cosine_outside": rng.uniform(0, 1),
                "mask_area": float(1 / (1 + np.exp(-area))),
            }
            carrier = whole if question == 0 else {"same_image_as": image * questions}
            ours.append(connector_row(doc_id, target, {"image": name, **carrier, **masked}, text))
            theirs.append(scored_row(doc_id, target, f"{text}\nAnswer shortly.", accuracy=float(not fails)))
    return ours, theirs
