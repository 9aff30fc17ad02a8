"""Connectors most of which lose or score the same: correlations and contrasts have a sentence, and no interval or p."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rich.console import Console

from connector_bench.association.across import across_connectors
from connector_bench.association.connectors_across import Measured, MeasuredTask
from connector_bench.association.contrast import contrasts
from connector_bench.association.export import as_json
from connector_bench.association.printed import terminal
from connector_bench.association.study_picture import picture
from connector_bench.association.testing import adjusted
from connector_bench.association.values import Analysis, Settings

QUICK = Settings()


def alike(values: np.ndarray, scores: np.ndarray, other: np.ndarray) -> tuple[Measured, ...]:
    """Connectors with `1 - knor_10` and `lost` beside accuracy on the same scenes."""

    def task(name: str, place: int, figures: dict[str, float], ours: bool) -> MeasuredTask:
        model, scenes = f"c{place}", frozenset({"scenes"})
        return MeasuredTask(model, "x", "w", "2026", name, scenes, "100", ours, figures)

    return tuple(
        Measured(
            f"c{place}",
            f"c{place}",
            "trained",
            {
                "knn_preservation": task("knn_preservation", place, {"knor_10": 1 - value}, True),
                "patch_reconstruction": task("patch_reconstruction", place, {"lost": lost}, True),
                "vqa": task("vqa", place, {"accuracy": score}, False),
            },
        )
        for place, (value, score, lost) in enumerate(zip(values, scores, other, strict=True))
    )


@pytest.mark.parametrize(
    ("values", "scores", "why"),
    [
        (np.arange(8) == 0, np.arange(8) == 0, "1 connectors lose other than the most frequent loss"),
        (np.arange(8) % 2, np.arange(8) % 2, "4 connectors lose other than the most frequent loss"),
        (np.arange(8), np.maximum(np.arange(8), 3), "4 connectors score other than the most frequent score"),
    ],
)
def test_connectors_of_which_most_are_alike_have_no_interval(
    values: np.ndarray, scores: np.ndarray, why: str
) -> None:
    """8 of which one differs had 1.0 [.903, 1] beside p = .25."""
    models = alike(values / 10, scores / 10, np.random.default_rng(0).permutation(8) / 10)
    across = across_connectors(models, QUICK)
    told = {entry.loss: entry for entry in across}["1 - knor_10"]
    (contrast,) = contrasts(across, QUICK)
    for found in (told.correlations["trained"], contrast.difference):
        assert found is not None
        assert np.isfinite(found.score.value)
        assert np.isnan([found.score.low, found.score.high]).all()
        assert found.p is None
        assert found.score.method == f"no interval: {why}, 6 are needed"
    assert told.refusals["trained"] == f"no interval: {why}, 6 are needed"
    analysis = Analysis(QUICK, {}, (), (), (), adjusted(across), (), adjusted((contrast,)))
    console = Console(record=True, width=300)
    console.print(terminal(analysis, everything=True))
    assert console.export_text().count(f"{why}, 6 are needed") >= 2
    assert json.loads(as_json(analysis))["across"][0]["spearman"]["trained"]["low"] is None
    assert picture(across).startswith(b"\x89PNG")


def test_six_connectors_apart_have_an_interval() -> None:
    values = np.maximum(np.arange(8), 1) / 10
    across = across_connectors(alike(values, np.arange(8) / 10, np.arange(8)[::-1] / 10), QUICK)
    (contrast,) = contrasts(across, QUICK)
    for found in (across[0].correlations["trained"], contrast.difference):
        assert found is not None
        assert found.p is not None
        assert found.score.low < found.score.high
