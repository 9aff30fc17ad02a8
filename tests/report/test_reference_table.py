"""The table of what neighbours gained against an independent space: a row a figure, a column a k."""

from __future__ import annotations

from pathlib import Path

from connector_bench.report.beyond_overlap import further_blocks
from connector_bench.report.blocks import ReportTable
from connector_bench.results.harness_files import read_result
from connector_bench.results.tasks import TaskRun

from .written import record, score, write_result

KS = (1, 10, 50)
FIGURES = ("gain", "agreement_pre", "agreement_post")


def table(tmp_path: Path, without: str = "") -> ReportTable:
    scores = {f"{figure}_{k}": score(k / 100, chance=0.0) for figure in FIGURES for k in KS}
    scores |= {f"untrained_gain_{k}": score(-0.005, chance=0.0, n=400) for k in KS}
    scores.pop(without, None)
    found = record(scores, options={"reference": "content by colour"})
    (only,) = further_blocks(TaskRun(read_result(write_result(tmp_path, {"knn": found})), "knn"))
    assert isinstance(only, ReportTable)
    return only


def test_a_figure_has_one_row_with_all_its_ks_and_is_explained_once(tmp_path: Path) -> None:
    found = table(tmp_path)
    assert found.columns == ("figure", "k = 1", "k = 10", "k = 50", "N", "what it is")
    texts = [[cell.text for cell in row] for row in found.rows]
    assert [row[0] for row in texts] == [
        *("gain", "agreement before", "agreement after"),
        "same architecture, untrained: gain",
    ]
    assert texts[0][1:5] == ["0.010 ±.010", "0.100 ±.010", "0.500 ±.010", "500"]
    assert texts[3][1:] == ["−0.005 ±.010"] * 3 + ["400", ""]
    assert [cell.mark for cell in found.rows[3]][1:4] == ["at chance"] * 3
    explained = [row[-1] for row in texts if row[-1]]
    assert len(explained) == len(set(explained)) == len(FIGURES)
    assert "content by colour" in found.shows


def test_a_k_that_was_not_measured_is_a_dash(tmp_path: Path) -> None:
    assert [cell.text for cell in table(tmp_path, without="gain_10").rows[0]][2] == "–"
