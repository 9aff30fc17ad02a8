"""What the summary says follows from the figures, also where that is not what one would like to read."""

from pathlib import Path
from typing import Any

import pytest

from connector_bench.report.blocks import Finding
from connector_bench.report.measured_runs import read_model
from connector_bench.report.overlap_table import overlap_table
from connector_bench.report.preservation_findings import preservation_findings
from connector_bench.report.reconstruction_findings import reconstruction_findings
from connector_bench.report.shared import shared_labels
from connector_bench.results.tasks import RECONSTRUCTION, TaskRun
from tests.report.written import record, score, unknown, write_result

CHANCE = 10 / 499


def task_with(tmp_path: Path, scores: dict[str, Any], **more: Any) -> TaskRun:
    write_result(tmp_path, {"the_task": record(scores, **more)})
    (task,) = read_model([tmp_path]).tasks
    return task


def said(findings: list[Finding], about: str) -> Finding:
    (found,) = [one for one in findings if one.about == about]
    return found


def overlap(value: float, untrained: float = 0.5, half: float = 0.01, **more: float) -> dict[str, Any]:
    figures = {
        "": value,
        "untrained_": untrained,
        "identity_": 1.0,
        "rotation_": 1.0,
        "shuffled_": CHANCE,
    } | more
    return {f"{name}knor_10": score(figure, half, CHANCE) for name, figure in figures.items()}


@pytest.mark.parametrize(
    ("untrained", "expected"),
    [
        (0.6, "more than the trained one. Training lowered the overlap"),
        (0.2, "fewer than the trained one."),
        (0.415, "not distinguishable from the trained one."),
    ],
)
def test_the_untrained_connector_is_compared(untrained: float, expected: str, tmp_path: Path) -> None:
    findings = preservation_findings(task_with(tmp_path, overlap(0.4, untrained)))
    assert expected in said(findings, "Neighbours, in comparison").text


def test_without_an_interval_nothing_is_told_of_overlap_recall_and_gain(tmp_path: Path) -> None:
    names = ("", "untrained_", "random_linear_")
    scores = {f"{name}knor_10": unknown(0.4 + 0.1 * i, CHANCE) for i, name in enumerate(names)}
    scores |= {f"recall_{side}_5": unknown(value, 0.0) for side, value in (("pre", 0.9), ("post", 0.4))}
    scores |= {"recall_diff_5": unknown(-0.5, 0.0), "gain_10": unknown(-0.1)}
    findings = preservation_findings(task_with(tmp_path, scores))
    why = "there is no interval (10 images, 20 are needed)"
    assert f"Whether that is more than chance is not told: {why}." in said(findings, "Neighbours kept").text
    assert said(findings, "Neighbours, in comparison").text == (
        "The same architecture, untrained, keeps 0.500. A random linear map of the same shape keeps 0.600. Whether "
        f"this connector keeps more than the untrained one or the random one is not told: {why}."
    )
    assert said(findings, "Label retrieval").text.endswith(f"a difference of −0.500, of which {why}.")
    assert said(findings, "Neighbours, for the better or not").text.endswith(f"not told, since {why}.")
    assert not any("distinguishable" in one.text for one in findings)


def test_controls_of_fewer_images_are_set_beside_the_connector_among_these(tmp_path: Path) -> None:
    """An untrained .5 of 100 images is more than .4 of all 500, and less than .6 of the same 100."""
    scores = overlap(0.4, 0.5) | {"untrained_knor_10": score(0.5, 0.01, 10 / 99) | {"n": 100}}
    among = {"n_images": 100, "scores": {"knor_10": score(0.6, 0.01, 10 / 99) | {"n": 100}}}
    task = task_with(tmp_path, scores, at_control_gallery=among)
    text = said(preservation_findings(task), "Neighbours, in comparison").text
    assert "Among the 100 images that controls are measured on, this connector keeps 0.600 ±.010" in text
    assert "fewer than the trained one." in text
    table = overlap_table("overlap", task.scores, task.scores_beside_controls)
    assert "Controls are measured among 100 of them" in table.shows
    assert "this connector, among 100 images" in [row[0].text for row in table.rows]


def test_overlap_comes_with_interval_n_and_chance(tmp_path: Path) -> None:
    text = said(preservation_findings(task_with(tmp_path, overlap(0.4))), "Neighbours kept").text
    assert "0.400 ±.010" in text
    assert "500 images" in text
    assert "chance gives 0.020" in text
    assert "not distinguishable" not in text


def test_overlap_at_chance_is_said_to_be(tmp_path: Path) -> None:
    text = said(preservation_findings(task_with(tmp_path, overlap(0.025))), "Neighbours kept").text
    assert "not distinguishable from chance" in text


def test_a_control_that_is_off_puts_the_rest_in_doubt(tmp_path: Path) -> None:
    findings = preservation_findings(task_with(tmp_path, overlap(0.4, identity_=0.9, shuffled_=0.2)))
    wrong = next(one for one in findings if one.tone == "warning")
    assert "identity kept 0.900 and not 1" in wrong.text
    assert "shuffled pairs kept 0.200 ±.010" in wrong.text
    assert "rotation" not in wrong.text


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [(0.005, "not distinguishable"), (-0.05, "fewer after it"), (0.05, "more after it")],
)
def test_a_change_of_recall_is_told_from_none(difference: float, verdict: str, tmp_path: Path) -> None:
    recalls = {"pre": 0.3, "post": 0.3 + difference, "diff": difference}
    scores = {f"recall_{side}_5": score(v, chance=0.0) for side, v in recalls.items()}
    findings = preservation_findings(task_with(tmp_path, overlap(0.4) | scores))
    assert verdict in said(findings, "Label retrieval").text


def ladder(best: float, untrained: float, **more: float) -> dict[str, Any]:
    figures = {"r2_ridge": best - 0.1, "r2_mlp": best, "r2_best": best, "nonlinear": 0.1}
    figures |= {"untrained_r2_ridge": untrained, "identity_r2_ridge": 1.0, "shuffled_r2_ridge": -0.01} | more
    scores = {name: score(value, 0.005, 0.0) for name, value in figures.items()}
    return scores | {"lost": score(1 - best, 0.005, 1.0)}


def test_without_an_interval_nothing_is_told_of_probes(tmp_path: Path) -> None:
    scores = {name: unknown(one["value"], one["chance"]) for name, one in ladder(0.7, 0.5).items()}
    findings = reconstruction_findings(task_with(tmp_path, scores, measure=RECONSTRUCTION, best_probe="mlp"))
    why = "there is no interval (10 images, 20 are needed)"
    assert f"the MLP adds +0.100, of which {why}." in said(findings, "Patches rebuilt").text
    assert f"{why} to tell it from the trained one" in said(findings, "Patches, in comparison").text
    assert not any("distinguishable" in one.text for one in findings)


def test_what_no_probe_rebuilds_is_an_upper_bound(tmp_path: Path) -> None:
    task = task_with(
        tmp_path, ladder(0.7, 0.5), measure=RECONSTRUCTION, best_probe="mlp", more_data_helps=False
    )
    findings = reconstruction_findings(task)
    text = said(findings, "Patches rebuilt").text
    assert "(mlp) rebuilds 0.700 ±.005" in text
    assert "0.300 ±.005 is lost to every probe tried. That is an upper bound" in text
    assert "0.100 ±.005 more is kept but not linearly readable" in text
    assert "less than from the trained one" in said(findings, "Patches, in comparison").text
    assert "does not help" in said(findings, "Learning curve").text
    assert not [one for one in findings if one.tone == "warning"]


def test_more_data_that_helps_is_a_warning(tmp_path: Path) -> None:
    task = task_with(
        tmp_path, ladder(0.7, 0.8), measure=RECONSTRUCTION, best_probe="mlp", more_data_helps=True
    )
    findings = reconstruction_findings(task)
    assert said(findings, "Learning curve").tone == "warning"
    text = said(findings, "Patches rebuilt").text
    assert "rebuilds ≥ 0.700 ±.005" in text
    assert "≤ 0.300 ±.005 is lost" in text
    assert "more than from the trained one" in said(findings, "Patches, in comparison").text


def test_shuffled_pairs_that_rebuild_something_are_a_warning(tmp_path: Path) -> None:
    scores = ladder(0.7, 0.5, shuffled_r2_ridge=0.2)
    findings = reconstruction_findings(task_with(tmp_path, scores, measure=RECONSTRUCTION))
    assert next(one.text for one in findings if one.tone == "warning").startswith(
        "Not as they must be: shuffled pairs R² 0.200"
    )


def test_an_mlp_that_adds_nothing_is_said_to(tmp_path: Path) -> None:
    findings = reconstruction_findings(task_with(tmp_path, ladder(0.7, 0.5, nonlinear=0.001)))
    assert "adds nothing that is distinguishable from 0" in said(findings, "Patches rebuilt").text


def test_what_neighbours_share_is_one_sentence(tmp_path: Path) -> None:
    shares = {"purity_pre": score(0.3, 0.02, 0.01), "purity_post": score(0.2, 0.02, 0.01)}
    shares |= {f"{name}_by_wall": score(0.5, 0.02, 0.5) for name in ("purity_pre", "purity_post")}
    labels = {"dish": {"classes": 9, "most": 0.7}, "wall": {"classes": 2, "most": 1.0}}
    task = task_with(tmp_path, overlap(0.4) | shares, labels=labels)
    text = said(preservation_findings(task), "What neighbours share").text
    assert text == (
        "Of an image's 10 nearest neighbours 0.300 ±.020 have its dish before the connector and 0.200 ±.020 after it "
        "(chance 0.010, at most 0.700 possible); 0.500 ±.020 have its wall before the connector and 0.500 ±.020 after "
        "it (chance 0.500, not distinguishable from chance)."
    )
    table = overlap_table("overlap", task.scores, task.scores_beside_controls, shared_labels(task))
    named = {row[0].text: row[1].text for row in table.rows}
    assert named["nearest with the same dish, before the connector"] == "0.300 ±.020"
    assert named["chance of an overlap"] == "0.020"


def test_captions_of_neighbours_are_told(tmp_path: Path) -> None:
    alike = {"caption_pre": score(0.21, 0.02, 0.05), "caption_post": score(0.2, 0.02, 0.05)}
    text = said(
        preservation_findings(task_with(tmp_path, overlap(0.4) | alike)), "What neighbours share"
    ).text
    assert text.startswith("Captions of an image and of its 10 nearest are 0.210 ±.020 alike before")
    assert text.endswith("two images at random have 0.050.")


@pytest.mark.parametrize(
    ("more", "expected"),
    [({}, "Nothing is known of what neighbours share"), ({"recall_pre_1": score(0.5)}, "an older version")],
)
def test_what_is_not_known_is_said(more: dict[str, Any], expected: str, tmp_path: Path) -> None:
    task = task_with(tmp_path, overlap(0.4) | more)
    assert expected in said(preservation_findings(task), "What neighbours share").text
