"""Which files are results: those of lmms-eval itself, not what its tasks leave beside them."""

from pathlib import Path

import pytest

from connector_bench.results.harness_files import UnusableResult, result_files


def test_submissions_are_no_results(tmp_path: Path) -> None:
    result = tmp_path / "model" / "20260101_000000_results.json"
    submission = tmp_path / "submissions" / "coco_captions_val2014_alg_results.json"
    for path in (result, submission):
        path.parent.mkdir()
        path.write_text("[]")
    assert result_files([tmp_path]) == [result]
    with pytest.raises(UnusableResult, match="in this folder or below it"):
        result_files([submission.parent])
