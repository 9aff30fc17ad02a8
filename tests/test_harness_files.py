"""Which files are results: those of lmms-eval itself, not what its tasks leave beside them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

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
