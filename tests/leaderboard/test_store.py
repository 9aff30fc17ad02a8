"""Committed results survive hostile names and broken writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector_bench.leaderboard.board_files import run_path, run_text, stored_runs
from connector_bench.leaderboard.schema import Numbers, StoredRun, TaskResult
from connector_bench.results.harness_files import UnusableResult
from tests.leaderboard.pages import neighbours
from tests.leaderboard.runs import a_run, preservation


def file_run(board: Path, text: str, run: StoredRun) -> None:
    path = run_path(board, run)
    path.parent.mkdir(parents=True)
    path.write_text(text)


@given(st.text(min_size=1, max_size=80), st.text(max_size=40))
def test_no_name_leads_out_of_the_folder(model: str, date: str) -> None:
    board = Path("/board")
    path = run_path(board, a_run(model, date=date))
    assert path.parent == board / "results"
    assert path.name.isascii()
    assert not path.name.startswith(".")


def test_names_that_look_alike_keep_files_of_their_own() -> None:
    board = Path("/board")
    assert run_path(board, a_run("a/b")) != run_path(board, a_run("a_b"))


def test_round_trip(tmp_path: Path) -> None:
    values = (0.1, 0.25, 1 / 3)
    run = a_run("a/b", knn_preservation=preservation(0.5, n=3, values=values))
    file_run(tmp_path, run_text(run), run)
    (found,) = stored_runs(tmp_path)
    per_image: Numbers = found.tasks["knn_preservation"].per_image["knor_10"]
    assert per_image == pytest.approx(values, rel=5e-4)
    assert run_text(found) == run_text(run)


def test_values_of_images_are_as_many_as_the_images() -> None:
    with pytest.raises(ValueError, match="2 values for 3 images"):
        TaskResult.model_validate(preservation(0.5, n=3, values=(0.1, 0.2)).model_dump())


def test_halvings_of_older_files_are_the_overlaps() -> None:
    result = neighbours(0.5)
    older = json.loads(result.model_dump_json())
    older["halvings"] = older["halvings"]["knor_10"]
    assert TaskResult.model_validate(older).halvings == result.halvings
    assert TaskResult.model_validate(older | {"halvings": []}).halvings == {}


def test_a_broken_committed_file_is_named(tmp_path: Path) -> None:
    run = a_run()
    path = run_path(tmp_path, run)
    file_run(tmp_path, run_text(run)[:-5], run)
    with pytest.raises(UnusableResult, match=path.name):
        stored_runs(tmp_path)


def test_another_schema_version_is_said_to_be_one(tmp_path: Path) -> None:
    run = a_run()
    file_run(tmp_path, run_text(run).replace('"schema_version": 2', '"schema_version": 1'), run)
    with pytest.raises(UnusableResult, match="schema version 1, this connector-bench reads 2"):
        stored_runs(tmp_path)
