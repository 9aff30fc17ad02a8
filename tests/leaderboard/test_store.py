"""Committed results survive hostile names and broken writes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector_bench.harness_files import UnusableResult
from connector_bench.leaderboard.schema import Comparable, Figure, Run, TaskResult
from connector_bench.leaderboard.store import run_path, stored_runs, write_whole


def a_run(model: str = "m", date: str = "20260101_000000") -> Run:
    result = TaskResult(comparable=Comparable(n=10), figures={"accuracy": Figure(value=0.5)})
    return Run(model=model, date=date, tasks={"t": result})


@given(st.text(min_size=1, max_size=80), st.text(max_size=40))
def test_no_name_leads_out_of_the_folder(model: str, date: str) -> None:
    board = Path("/board")
    path = run_path(board, a_run(model, date))
    assert path.parent == board / "results"
    assert path.name.isascii()
    assert not path.name.startswith(".")


def test_round_trip(tmp_path: Path) -> None:
    run = a_run("a/b")
    write_whole(run_path(tmp_path, run), run.model_dump_json())
    assert stored_runs(tmp_path) == [run]


def test_a_broken_committed_file_is_named(tmp_path: Path) -> None:
    run = a_run()
    path = run_path(tmp_path, run)
    write_whole(path, run.model_dump_json()[:-5])
    with pytest.raises(UnusableResult, match=path.name):
        stored_runs(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
