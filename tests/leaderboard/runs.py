"""Runs as `leaderboard add` would file them, made without a harness."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from connector_bench.leaderboard.schema import (
    Comparable,
    Connector,
    Figure,
    Provenance,
    StoredRun,
    TaskResult,
)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def a_connector(model: str, weights: str = "a", **more: object) -> Connector:
    given = {"family": "f", "connector": "mlp", "modules": ("p",), "parameters": 12, "dtype": "float32"}
    return Connector.model_validate({**given, "model": model, "weights_sha256": sha(weights), **more})


def provenance(date: str = "20260101_000000", **more: object) -> Provenance:
    given = {"date": date, "wrapper": "llava_hf", "command": "lmms-eval --model llava_hf --tasks t"}
    return Provenance.model_validate({**given, **more})


def preservation(
    kept: float,
    *,
    n: int = 1000,
    images: str = "x",
    protocol: str = "1",
    values: Sequence[float] = (),
    half: float = 0.02,
    **options: object,
) -> TaskResult:
    figure = Figure(
        value=kept,
        low=kept - half,
        high=kept + half,
        stderr=half / 2,
        chance=0.0,
        k=10,
        higher_is_better=True,
    )
    return TaskResult(
        measure="knn_preservation",
        comparable=Comparable(n=n, images_sha256=sha(images), protocol=protocol, options=options),
        figures={
            "knor_adj_10": figure,
            "untrained_knor_10": Figure(value=0.6, chance=0.01, k=10),
        },
        per_image={"knor_10": tuple(values)} if len(values) else {},
    )


def reconstruction(sse: Sequence[float], sst: Sequence[float]) -> TaskResult:
    return TaskResult(
        measure="patch_reconstruction",
        comparable=Comparable(n=len(sse), images_sha256=sha("x"), protocol="1"),
        figures={"lost": Figure(value=sum(sse) / sum(sst), chance=1.0, higher_is_better=False)},
        per_image={"sse": tuple(sse), "sst": tuple(sst)},
    )


def answers(accuracy: float, n: int = 4000, documents: str | None = None) -> TaskResult:
    comparable = Comparable(n=n, documents_sha256=None if documents is None else sha(documents))
    return TaskResult(
        comparable=comparable, figures={"accuracy": Figure(value=accuracy, higher_is_better=True)}
    )


def a_run(
    model: str = "m",
    *,
    date: str = "20260101_000000",
    weights: str = "a",
    revision: str | None = None,
    dtype: str = "float32",
    **tasks: TaskResult,
) -> StoredRun:
    ours = any(result.measure for result in tasks.values())
    return StoredRun(
        model=model,
        provenance=provenance(date, revision=revision),
        connector=a_connector(model, weights, dtype=dtype) if ours else None,
        tasks=tasks or {"t": answers(0.5)},
    )
