"""What the report makes of an analysis: which pair stands for the others, and how it is worded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from connector_bench.association import values as association
from connector_bench.metrics import loss_named
from connector_bench.report.association import association_section
from connector_bench.report.association_findings import association_findings
from connector_bench.report.association_words import headline
from connector_bench.report.blocks import Prose, ReportTable
from connector_bench.report.chart import Chart
from connector_bench.report.theme import LIGHT
from connector_bench.stats.intervals import Score

N = 40


def figure_of(value: float, chance: float = 0.0, q: float = 0.001) -> association.Tested:
    return association.Tested(Score(value, value - 0.05, value + 0.05, N, chance, "95 % bootstrap"), q, q)


def prediction(auroc: float, q: float = 0.001, **advantages: float) -> association.Prediction:
    baselines = tuple(
        association.BaselinePrediction(
            name, True, figure_of(0.6, 0.5), figure_of(gain, q=0.001 if abs(gain) > 0.05 else 0.5)
        )
        for name, gain in advantages.items()
    )
    rate = Score(0.4, 0.3, 0.5, 10, None, "95 % bootstrap")
    bins = tuple(association.CalibrationBin(i, i + 1, i + 0.5, 10, rate) for i in range(4))
    return association.Prediction("accuracy < 0.5", 16, figure_of(auroc, 0.5, q), baselines, bins)


def pair(loss: str = "lost", score: str = "accuracy", **more: Any) -> association.Pair:
    given = {"spearman": figure_of(-0.2), "partial": None, "quartiles": None, "prediction": None} | more
    return association.Pair("m", "patch_reconstruction", "vqa", loss, score, N, 20, **given)


def analysis(*pairs: association.Pair, **more: Any) -> association.Analysis:
    table = association.JoinedTable(
        model="m",
        connector_task="patch_reconstruction",
        score_task="vqa",
        identity="document number",
        documents=tuple(range(N)),
        images=tuple(f"image{i // 2}" for i in range(N)),
        losses={one.loss: np.linspace(0, 1, N) for one in pairs},
        baselines={},
        scores={one.score: np.arange(N) % 2.0 for one in pairs},
        higher_is_better={one.score: True for one in pairs},
        notes=("how scores were made",),
    )
    given = {"grounded": (), "skipped": ()} | more
    return association.Analysis(
        association.Settings(), {}, (table,), pairs, given["grounded"], (), given["skipped"]
    )


def said(found: association.Analysis) -> str:
    return " ".join(finding.text for finding in association_findings(found))


@pytest.mark.parametrize(
    ("auroc", "q", "advantages", "expected"),
    [
        (
            0.7,
            0.001,
            {},
            "The higher “lost”, the more failures: AUROC 0.700 ±.050, chance 0.5, over 40",
        ),
        (0.7, 0.001, {"entropy": 0.1}, "better than every baseline."),
        (
            0.7,
            0.001,
            {"entropy": 0.1, "mask_area": 0.01},
            "not shown to be better than area of the answer (0.600).",
        ),
        (0.7, 0.001, {"mask_area": -0.1}, "not shown to be better than area of the answer (0.600)."),
        (0.3, 0.001, {}, "The higher “lost”, the fewer failures"),
        (0.6, 0.2, {}, "“lost” does not tell failures from successes: AUROC 0.600 ±.050, chance 0.5"),
        (
            0.5,
            0.2,
            {"mask_area": -0.1},
            "not significant. A simpler property does: area of the answer (0.600).",
        ),
    ],
)
def test_prediction_is_worded_as_it_came_out(
    auroc: float, q: float, advantages: dict[str, float], expected: str
) -> None:
    assert expected in said(analysis(pair(prediction=prediction(auroc, q, **advantages))))


def test_significant_pairs_are_counted_and_the_strongest_named() -> None:
    pairs = [
        pair(),
        pair("nmse", spearman=figure_of(-0.5)),
        pair("loss_outside", spearman=figure_of(0.4, q=0.06)),
    ]
    text = said(analysis(*pairs))
    assert "2 of 3 are significant after correction" in text
    assert "most of all “error of a patch” with accuracy −0.500 ±.050; “lost” with accuracy" in text
    assert "error outside" not in text


def test_the_loss_that_knows_the_answers_place_stands_for_the_others() -> None:
    pairs = [pair("1 - knor_10"), pair("lost"), pair("loss_inside", "other"), pair("loss_inside")]
    found = headline(pairs)
    assert found is not None
    assert (found.loss, found.score) == ("loss_inside", "accuracy")
    assert headline([]) is None


def test_documents_that_do_not_belong_together_are_a_warning() -> None:
    refused = association.Skipped("a beside b", "the data sets differ", refused=True)
    absent = association.Skipped("a beside c", "no samples")
    found = analysis(pair(), skipped=(refused, absent))
    assert [(f.about, f.tone) for f in association_findings(found)][1:] == [("Not joined", "warning")]
    missing = [block.text for block in association_section(found).blocks if isinstance(block, Prose)]
    assert {"a beside b: the data sets differ", "a beside c: no samples"} <= set(missing)


def test_every_pair_has_a_row_and_every_chart_can_be_drawn() -> None:
    grounded = association.Grounded(
        *(
            "m",
            "patch_reconstruction",
            "vqa",
            "accuracy",
            "mse",
            N,
            20,
            figure_of(-0.2),
            figure_of(0.1, q=0.5),
        ),
        *(association.Partial(("mask_area",), figure_of(-0.1)), None, figure_of(-0.3)),
    )
    quartiles = association.Quartiles(figure_of(0.8).score, figure_of(0.5).score, figure_of(-0.3))
    full = pair(prediction=prediction(0.7, entropy=0.1), quartiles=quartiles, partial=grounded.inside_partial)
    pairs = [full, replace(full, score="other"), pair("nmse", notes=("no AUROC: too few",))]
    blocks = association_section(analysis(*pairs, grounded=(grounded,))).blocks
    charts = [block for block in blocks if isinstance(block, Chart)]
    assert [chart.name.rsplit("-", 1)[1] for chart in charts] == [
        "correlation",
        "auroc",
        "calibration",
        "outside",
    ]
    assert all(chart.svg(LIGHT).startswith(b"<?xml") for chart in charts)
    correlation, auroc, *_ = charts
    assert "Held fixed, where the loss allows it: area of the answer." in correlation.shows
    assert "entropy, larger fails" in auroc.alt
    assert "documents that have “lost”)" in auroc.shows
    (table,) = [block for block in blocks if isinstance(block, ReportTable)]
    assert [(row[0].text, row[1].text) for row in table.rows] == [
        (loss_named(one.loss), one.score) for one in pairs
    ]
    assert all(len(row) == len(table.columns) for row in table.rows)
    texts = [block.text for block in blocks if isinstance(block, Prose)]
    assert any("how scores were made" in text for text in texts)
    assert any("no AUROC: too few" in text for text in texts)


def test_without_a_joined_table_the_section_says_why() -> None:
    empty = association.Analysis(association.Settings(), {}, (), (), (), (), ())
    (block,) = association_section(empty).blocks
    assert isinstance(block, Prose)
    assert block.tone == "missing"
