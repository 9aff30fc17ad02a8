"""What the report says of stages: one sentence a kind, and who is to blame only where intervals say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connector_bench.report.blocks import ReportTable
from connector_bench.report.stage_findings import blamed, stage_findings, stage_section
from connector_bench.results.harness_files import read_result
from connector_bench.results.tasks import TaskRun

from .written import record, score, unknown, write_result

KIND = "count"


def task_with(
    tmp_path: Path, connector: float, model: float | None, pre: float = 0.8, **more: Any
) -> TaskRun:
    """Losses of this size with half widths of .05."""
    scores = {
        "acc_pre_count": score(pre, 0.02, chance=0.25),
        "acc_post_count": score(pre - connector, 0.02, chance=0.25),
        "lost_encoder_count": score(1 - pre, 0.02, chance=0.75),
        "lost_connector_count": score(connector, 0.05, chance=pre - 0.25),
        "bits_pre_count": score(1.2, 0.1, chance=0.0),
        "bits_post_count": score(0.9, 0.1, chance=0.0),
    }
    if model is not None:
        scores["acc_model_count"] = score(pre - connector - model, 0.02, chance=0.25)
        scores["lost_language_model_count"] = score(model, 0.05)
    found = record(scores, measure="connector_stages", options={"kinds": [KIND, "object"]}, **more)
    return TaskRun(read_result(write_result(tmp_path, {"connector_stages": found})), "connector_stages")


@pytest.mark.parametrize(
    ("connector", "model", "expected"),
    [
        (0.3, 0.0, "The connector is to blame."),
        (0.0, 0.3, "The language model is to blame."),
        (0.1, 0.3, "The language model is to blame."),
        (0.2, 0.22, "Both lose, and which of them more is not distinguishable."),
        (0.01, 0.02, "Neither is distinguishable from losing nothing."),
        (-0.2, 0.02, "More is read behind the connector than before it"),
        (-0.2, 0.3, "The language model is to blame. More is read behind the connector than before it"),
        (0.3, -0.2, "The connector is to blame. The model reads better than this reader"),
        (0.3, None, "The connector is to blame. What the language model misses was not measured."),
    ],
)
def test_blame_follows_the_intervals(
    connector: float, model: float | None, expected: str, tmp_path: Path
) -> None:
    (found,) = stage_findings(task_with(tmp_path, connector, model))
    assert found.about == "Questions of count"
    assert expected in found.text
    assert f"the connector loses {connector:.3f} ±.050".replace("-", "−") in found.text
    assert "Before both, the encoder or this reader loses 0.200 ±.020." in found.text
    assert ("the model itself" in found.text) == (model is not None)


def test_nothing_is_said_of_a_loss_where_nothing_is_read(tmp_path: Path) -> None:
    (found,) = stage_findings(task_with(tmp_path, 0.0, 0.0, pre=0.26))
    assert "nothing can be said of what it loses" in found.text
    assert "to blame" not in found.text


def test_a_reader_that_is_too_weak_is_a_warning(tmp_path: Path) -> None:
    _, warning = stage_findings(task_with(tmp_path, -0.2, 0.1, read_worse_before=[KIND]))
    assert warning.tone == "warning"
    assert "is not known" in warning.text


def test_readers_below_the_model_are_a_warning(tmp_path: Path) -> None:
    task = task_with(tmp_path, 0.0, -0.1)
    assert len(stage_findings(task)) == 1
    task.record["scores"]["reader_gap_count"] = score(0.1, 0.02)
    _, warning = stage_findings(TaskRun(task.file, "connector_stages"))
    assert warning.tone == "warning"
    assert "count by 0.100 ±.020, so the encoder loses at most 0.1" in warning.text
    task.record["scores"]["reader_gap_count"] = score(0.01, 0.02)
    assert len(stage_findings(TaskRun(task.file, "connector_stages"))) == 1


def test_the_table_has_every_kind_that_was_measured(tmp_path: Path) -> None:
    task = task_with(tmp_path, 0.3, 0.1)
    _, table, bits = stage_section(task).blocks
    for one, columns in ((table, 1 + 6), (bits, 1 + 2)):
        assert isinstance(one, ReportTable)
        assert [row[0].text for row in one.rows] == [KIND]
        assert {len(row) for row in (one.columns, *one.rows)} == {columns}
    assert bits.columns == ("kind", "bits before", "bits after")
    assert [cell.text for cell in bits.rows[0][1:]] == ["1.200 ±.100", "0.900 ±.100"]


def test_nobody_is_blamed_for_what_the_model_finds_in_the_same_tokens(tmp_path: Path) -> None:
    task = task_with(tmp_path, 0.1, -0.3)
    assert blamed(task, KIND) == "the connector is to blame"
    task.record["scores"]["reader_gap_count"] = score(0.2, 0.02)
    task = TaskRun(task.file, "connector_stages")
    assert blamed(task, KIND).startswith("it is not known, since the model answers more")
    found = stage_findings(task)[0].text
    assert "to blame is not known" in found
    assert "The connector is to blame" not in found


@pytest.mark.parametrize(("connector", "model"), [(0.8, 0.0), (0.0, 0.8), (0.0, 0.0)])
def test_nobody_is_acquitted_or_blamed_without_an_interval(
    connector: float, model: float, tmp_path: Path
) -> None:
    """Of ten scenes that are all read before and none behind it was said that no loss is distinguishable from none."""
    task = task_with(tmp_path, connector, model)
    for name, found in task.record["scores"].items():
        task.record["scores"][name] = unknown(found["value"], found["chance"], n=10)
    task = TaskRun(task.file, "connector_stages")
    (found,) = stage_findings(task)
    assert (
        f"the connector loses {connector:.3f} and the language model loses {model:.3f}. There is no"
        in found.text
    )
    assert "There is no interval (10 images, 20 are needed), so who is to blame is not told." in found.text
    assert blamed(task, KIND) == "it is not told, since there is no interval (10 images, 20 are needed),"
    assert "distinguishable" not in found.text
