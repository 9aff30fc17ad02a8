"""One room reads lmms-eval's files: rows, answers, metrics with filters, the latest run of a task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connector_bench.results.harness_files import UnusableResult, read_results
from connector_bench.results.models import ModelRuns, models_of
from connector_bench.results.tasks import TaskRun
from tests.association.written import connector_row, scored_row, write_run

PACKAGE = Path(__file__).parent.parent / "connector_bench"
OF_THE_FILES = ('"filtered_resps"', '"n-samples"', "_stderr", '"task_hashes"')
"""How lmms-eval spells what only its readers need to know."""


def test_no_other_room_parses_result_files() -> None:
    readers = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        if any(sign in path.read_text(encoding="utf-8") for sign in OF_THE_FILES)
    }
    assert readers == {"results"}


@pytest.fixture
def runs(tmp_path: Path) -> ModelRuns:
    """A run of both kinds of task, and a later one of the scored task through two filters."""
    image = {"image": "f" * 64, "knor_10": 0.5}
    ours = [connector_row(0, "a", image), connector_row(1, "b", {"left_out": "another gallery"})]
    theirs = [scored_row(n, "ab"[n], "what?", accuracy=float(n), image_id=f"i{n}") for n in (0, 1)]
    write_run(tmp_path, connector={"knn_preservation": ours}, scored={"vqa": theirs})
    path = write_run(tmp_path, scored={"vqa": theirs}, stamp="20260102_000000")
    content = json.loads(path.read_text())
    content["results"]["vqa"] = {
        "alias": "vqa",
        "accuracy,none": 0.5,
        "accuracy_stderr,none": "N/A",
        "accuracy,strict": 0.25,
        "accuracy_stderr,strict": 0.01,
        "image_id,none": [],
    }
    path.write_text(json.dumps(content))
    (model,) = models_of(read_results([tmp_path])).values()
    return model


def test_the_latest_run_of_a_task_and_its_metrics_by_filter(runs: ModelRuns) -> None:
    assert {name: task.file.date[:8] for name, task in runs.latest.items()} == {
        "knn_preservation": "20260101",
        "vqa": "20260102",
    }
    vqa = runs.latest["vqa"]
    assert vqa.figures == {"accuracy": 0.5, "accuracy (strict)": 0.25}
    assert [(metric.column, metric.stderr) for metric in vqa.metrics] == [
        ("accuracy", None),
        ("accuracy", 0.01),
    ]
    assert vqa.metric_columns == ["accuracy"], "what a task passes through is no metric"
    assert [runs.latest[name].measure for name in runs.latest] == ["knn_preservation", None]


def test_rows_answers_and_frames(runs: ModelRuns) -> None:
    ours, vqa = runs.latest["knn_preservation"], runs.latest["vqa"]
    assert ours.answers[0]["knor_10"] == 0.5
    assert ours.answers[1] == {"left_out": "another gallery"}, (
        "a picture that was not drawn is no broken file"
    )
    assert vqa.documents[1].columns == {"accuracy": 1.0, "image_id": "i1"}
    frame = vqa.to_pandas()
    assert frame["accuracy"].tolist() == [0.0, 1.0]
    assert frame["doc_id"].tolist() == [0, 1]
    figures = runs.to_pandas().set_index(["task", "metric"])["value"]
    assert figures["vqa", "accuracy (strict)"] == 0.25


def test_rows_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    twice = [scored_row(0, "a", "what?", accuracy=1.0)] * 2
    (file,) = read_results([write_run(tmp_path, scored={"vqa": twice})])
    with pytest.raises(UnusableResult, match="stands there twice"):
        _ = TaskRun(file, "vqa").documents
