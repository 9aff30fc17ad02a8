from pathlib import Path

import pytest

from connector_bench.report.measured_runs import read_model
from connector_bench.results.harness_files import UnusableResult
from connector_bench.results.tasks import PRESERVATION, RECONSTRUCTION
from tests.report.written import CONNECTOR, record, score, write_result


def test_tasks_are_told_apart_by_what_they_measure(tmp_path: Path) -> None:
    records = {
        "knn_preservation": record({}),
        "patch_reconstruction_coco": record({}, measure=RECONSTRUCTION),
        "knn_preservation_coco": record({}, measure=PRESERVATION),
    }
    write_result(tmp_path, records, {"vqav2_val": {"exact_match,none": 0.5}})
    found = read_model([tmp_path])
    assert [task.name for task in found.of(PRESERVATION)] == ["knn_preservation", "knn_preservation_coco"]
    assert [task.name for task in found.of(RECONSTRUCTION)] == ["patch_reconstruction_coco"]
    assert [task.name for task in found.of(None)] == ["vqav2_val"]


def test_the_latest_run_of_a_task_counts(tmp_path: Path) -> None:
    for date, value in (("20260102_000000", 0.2), ("20260101_000000", 0.1)):
        write_result(tmp_path, {"knn_preservation": record({"knor_10": score(value)})}, date=date)
    write_result(tmp_path, {}, {"vqav2_val": {"exact_match,none": 0.5}}, date="20260103_000000")
    found = read_model([tmp_path])
    (task,) = found.of(PRESERVATION)
    assert task.scores["knor_10"].value == 0.2
    assert [file.path.name for file in found.files] == [
        "20260102_000000_results.json",
        "20260103_000000_results.json",
    ]


def test_of_several_models_one_must_be_chosen(tmp_path: Path) -> None:
    for date, model in (("20260101_000000", "org/model"), ("20260102_000000", "org/other")):
        write_result(
            tmp_path,
            {"knn_preservation": record({}) | {"connector": CONNECTOR | {"model": model}}},
            date=date,
        )
    with pytest.raises(
        UnusableResult, match="results of 2 models; choose one with --model: org/model, org/other"
    ):
        read_model([tmp_path])
    with pytest.raises(UnusableResult, match="no results of a model 'org/third'"):
        read_model([tmp_path], "org/third")
    assert read_model([tmp_path], "org/other").connector["model"] == "org/other"


def test_two_sets_of_weights_are_not_one_model(tmp_path: Path) -> None:
    other = record({}) | {"connector": CONNECTOR | {"weights_sha256": "cd" * 32}}
    write_result(tmp_path, {"knn_preservation": record({})})
    write_result(tmp_path, {"patch_reconstruction": other}, date="20260102_000000")
    with pytest.raises(UnusableResult, match="different connector weights"):
        read_model([tmp_path])


def test_a_task_that_failed_is_kept_with_its_reason(tmp_path: Path) -> None:
    write_result(
        tmp_path, {"knn_preservation": {"error": "RuntimeError: no connector"}}, {"t": {"a,none": 1.0}}
    )
    found = read_model([tmp_path])
    assert found.failed == {"knn_preservation": "RuntimeError: no connector"}
    assert [task.name for task in found.tasks] == ["t"]
    assert found.connector is None


def test_anchors_of_different_names_differ(tmp_path: Path) -> None:
    names = ["a/b", "a b", "a-b", '<script>alert("x")</script>']
    write_result(tmp_path, {name: record({}) for name in names})
    anchors = [task.anchor for task in read_model([tmp_path]).tasks]
    assert len(set(anchors)) == len(names)
    assert all(anchor.replace("-", "").replace("_", "").isalnum() for anchor in anchors)
