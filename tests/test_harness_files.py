"""Which files are results: those of lmms-eval itself, not what its tasks leave beside them."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lmms_eval.loggers.evaluation_tracker import EvaluationTracker

from connector_bench import entry
from connector_bench.plugin.result_names import free_stamp
from connector_bench.results.harness_files import UnusableResult, read_result, result_files


def test_submissions_are_no_results(tmp_path: Path) -> None:
    result = tmp_path / "model" / "20260101_000000_results.json"
    submission = tmp_path / "submissions" / "coco_captions_val2014_alg_results.json"
    for path in (result, submission):
        path.parent.mkdir()
        path.write_text("[]")
    assert result_files([tmp_path]) == [result]
    with pytest.raises(UnusableResult, match="in this folder or below it"):
        result_files([submission.parent])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_files_that_an_editor_wrote_again_are_read(tmp_path: Path, encoding: str) -> None:
    """Editors and shells of Windows put a byte-order mark before UTF-8, or write UTF-16."""
    path = tmp_path / "20260101_000000_results.json"
    path.write_text('{"config": {"model": "modèle"}, "results": {"a": {}}}', encoding=encoding)
    rows = ['{"doc_id": 0, "target": "é"}', '{"doc_id": 1, "target": "b"}']
    path.with_name("20260101_000000_samples_a.jsonl").write_text("\n".join(rows), encoding=encoding)
    result = read_result(path)
    assert result.model == "modèle"
    assert [row["target"] for row in result.samples("a")] == ["é", "b"]


def test_runs_of_the_same_second_have_a_result_file_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(20) as pool:
        stamps = list(pool.map(lambda _: free_stamp(tmp_path / "model", "20261231_235950"), range(20)))
    assert sorted(stamps) == [
        *(f"20261231_2359{second}" for second in range(50, 60)),
        *(f"20270101_0000{second:02}" for second in range(10)),
    ]
    assert {path.name for path in (tmp_path / "model").iterdir()} == {f"{one}_results.json" for one in stamps}
    (tmp_path / "file").touch()
    assert free_stamp(tmp_path / "file", "20261231_235950") == "20261231_235950", "nothing can be written"


def saved(folder: Path, value: int, described: object) -> None:
    """As a run that began in this second ends."""
    tracker = EvaluationTracker(output_path=str(folder))
    tracker.general_config_tracker.log_experiment_args("simple", "pretrained=some/model", "", "", False)
    content = {"results": {"a": value}, "configs": {"a": {"metadata": described}}}
    tracker.save_results_aggregated(results=content, samples=None, datetime_str="20261231_235959")
    row = {"arguments": ["x"], "resps": [["y"]], "filtered_resps": [str(value)], "target": "t", "doc": {}}
    tracker.save_results_samples("a", [row])


def test_a_run_of_ours_writes_over_no_other_of_its_second(tmp_path: Path) -> None:
    entry.register()
    for value, described in enumerate([[{"version": 0.0}], {"connector_bench": {}}, {"connector_bench": {}}]):
        saved(tmp_path, value, described)
    names = ["20261231_235959", "20270101_000000", "20270101_000001"]
    for value, name in enumerate(names):
        (results,) = tmp_path.rglob(f"{name}_results.json")
        assert json.loads(results.read_text())["results"] == {"a": value}
        rows = results.with_name(f"{name}_samples_a.jsonl").read_text().splitlines()
        assert [json.loads(row)["filtered_resps"] for row in rows] == [str(value)]
    assert len(list(tmp_path.rglob("*_results.json"))) == 3
