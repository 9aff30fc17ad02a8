"""A record with a wrong value in any place that is read: one sentence that names the file, and no page."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.report.command import report
from tests.report.written import record, score, write_result

POINT = {**score(0.4), "k": 10}
CURVE = {
    "fixed_k": [POINT | {"n": n} for n in (125, 250, 500)],
    "fixed_share": [POINT | {"n": n, "k": n // 100} for n in (125, 250)],
    "fit": {"slope": -0.3, "error": 0.1, "sizes": 3, "at": 5000, "extrapolated": score(0.3)},
}
KNN = record(
    {"knor_10": score(0.4), "knor_adj_10": score(0.4), "knor_adj_10_tenfold": score(0.3)},
    gallery_curve=CURVE,
    at_control_gallery={"scores": {"knor_10": score(0.5, n=100)}},
    pre_width=1024,
    post_width=4096,
)
PATCHES = record(
    {"lost": score(0.2), "r2_ridge": score(0.8), "r2_mlp": score(0.7)},
    best_probe="ridge",
    train_images=100,
    probes={"ridge": {"parameters": 10, "patches_seen": 100}},
    learning_curve={
        "fractions": [0.25, 0.5, 1.0],
        "patches": [1, 2, 4],
        "r2": {"ridge": [0.1, 0.2, 0.3]},
        "best": "ridge",
    },
)
STAGES = record({}, options={"kinds": ["count"]}, read_worse_before=["count"])
RECORDS = {"knn_preservation": KNN, "patch_reconstruction": PATCHES, "connector_stages": STAGES}
FAR = 10**299

BROKEN: list[tuple[str, tuple[Any, ...], Any]] = [
    ("knn_preservation", ("gallery_curve", "fixed_k", 0, "low"), "x"),
    ("knn_preservation", ("gallery_curve", "fixed_k", 0, "low"), []),
    ("knn_preservation", ("gallery_curve", "fixed_share", 0, "value"), "x"),
    ("knn_preservation", ("gallery_curve", "fixed_share", 0, "value"), []),
    ("knn_preservation", ("gallery_curve", "fixed_share", 0, "value"), None),
    ("knn_preservation", ("gallery_curve", "fixed_k", 0, "n"), FAR),
    ("knn_preservation", ("gallery_curve", "fixed_k", 0, "k"), "x"),
    ("knn_preservation", ("gallery_curve", "fit", "at"), FAR),
    ("knn_preservation", ("gallery_curve", "fit"), []),
    ("knn_preservation", ("gallery_curve",), "x"),
    ("knn_preservation", ("at_control_gallery", "scores", "knor_10", "value"), "x"),
    ("knn_preservation", ("at_control_gallery",), []),
    ("knn_preservation", ("options", "pooling"), []),
    ("knn_preservation", ("pre_width",), {}),
    ("patch_reconstruction", ("probes", "ridge", "parameters"), "x"),
    ("patch_reconstruction", ("probes", "ridge", "patches_seen"), []),
    ("connector_stages", ("read_worse_before",), 5),
    ("connector_stages", ("options", "kinds"), 5),
    ("connector_stages", ("options", "kinds", 0), []),
]


def put(records: dict[str, Any], task: str, where: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The records with something else in one place."""
    changed = copy.deepcopy(records)
    holder = changed[task]
    for key in where[:-1]:
        holder = holder[key]
    holder[where[-1]] = value
    return changed


def test_the_records_are_drawn_as_they_are(tmp_path: Path) -> None:
    write_result(tmp_path, RECORDS)
    finished = report(tmp_path, tmp_path / "page.html")
    assert finished.exit_code == 0, finished.output
    assert "Overlap over the size of the gallery" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(("task", "where", "value"), BROKEN)
def test_a_wrong_value_is_named_by_its_place(
    task: str, where: tuple[Any, ...], value: Any, tmp_path: Path
) -> None:
    path = write_result(tmp_path, put(RECORDS, task, where, value))
    finished = report(tmp_path, tmp_path / "page.html")
    assert finished.exit_code == 1
    place = ".".join(map(str, where))
    assert finished.stderr.startswith(f"no report: {path}: ")
    assert f"configs.{task}.metadata.{place} is " in finished.stderr
    assert len(finished.stderr) < 1000
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("task", "where", "value"),
    [
        ("patch_reconstruction", ("learning_curve", "fractions"), [0.5]),
        ("patch_reconstruction", ("learning_curve", "r2", "ridge"), []),
    ],
)
def test_a_chart_that_cannot_be_drawn_names_file_and_task(
    task: str, where: tuple[Any, ...], value: Any, tmp_path: Path
) -> None:
    """Each value is one that may stand there; beside the others it makes no sense."""
    path = write_result(tmp_path, put(RECORDS, task, where, value))
    finished = report(tmp_path, tmp_path / "page.html")
    assert finished.exit_code == 1
    assert finished.stderr.startswith(f"no report: {path}: {task}: ")


@pytest.mark.parametrize("name", ["options", "at_control_gallery", "gallery_curve", "pre_width"])
def test_what_is_null_is_what_was_not_recorded(name: str, tmp_path: Path) -> None:
    write_result(tmp_path, put(RECORDS, "knn_preservation", (name,), None))
    finished = report(tmp_path, tmp_path / "page.html")
    assert finished.exit_code == 0, finished.output
