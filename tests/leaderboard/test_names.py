"""Two checkpoint folders of one last part stay two models, from the real command line to board, compare and report."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from connector_bench.association.connectors_across import measured
from connector_bench.cli import app
from connector_bench.leaderboard import board as boards
from connector_bench.results.harness_files import read_results
from connector_bench.results.names import told_apart
from tests import tiny_vlms
from tests.leaderboard.conftest import ANSWERED, CPU, MEASURED


@pytest.fixture(scope="module")
def folders(measure: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Output folders of two copies of one checkpoint: connector weights and last part of the name are equal."""
    root = tmp_path_factory.mktemp("checkpoints")
    saved = tiny_vlms.save("llava", root)
    found = {}
    for name in ("expA", "expB"):
        shutil.copytree(saved, root / "someone" / name / "final")
        arguments = f"pretrained={root / 'someone' / name / 'final'},{CPU}"
        found[name] = measure(root / "out" / name, "llava_hf", arguments, f"{MEASURED},{ANSWERED}", 1)
    return found


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def names_on(board: Path) -> list[str]:
    table, _ = boards.table_with(board, [])
    return sorted(row.model for row in table.competitors)


def test_the_board_keeps_them_apart_together_and_one_by_one(folders: dict[str, Path], tmp_path: Path) -> None:
    call("leaderboard", "add", *folders.values(), "--board", tmp_path / "both")
    assert names_on(tmp_path / "both") == ["expA/final", "expB/final"]
    for name in ("expA", "expB", "expA", "expB"):
        call("leaderboard", "add", folders[name], "--board", tmp_path / "each")
    assert names_on(tmp_path / "each") == ["expB/final", "final"]
    call("leaderboard", "add", *folders.values(), "--board", tmp_path / "each")
    assert names_on(tmp_path / "each") == ["expB/final", "final"], "a checkpoint keeps the name that it has"
    call("leaderboard", "verify", *folders.values(), "--board", tmp_path / "each")
    published = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in published if b"someone" in path.read_bytes()], (
        "no more of a path than needed"
    )


def test_files_and_their_own_board_are_the_same_models(folders: dict[str, Path], tmp_path: Path) -> None:
    for folder in folders.values():
        call("leaderboard", "add", folder, "--board", tmp_path)
    assert measured(read_results(folders.values()), [tmp_path]) == measured([], [tmp_path])


def test_report_and_comparison_name_both(folders: dict[str, Path], tmp_path: Path) -> None:
    call("report", *folders.values(), "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8").replace("<wbr>", "")
    assert "<h1>expA/final, expB/final</h1>" in page
    call("report", *folders.values(), "--model", "expB/final", "-o", tmp_path / "page.html")
    assert "expB/final" in (tmp_path / "page.html").read_text(encoding="utf-8")
    out = ("--output", tmp_path / "comparison")
    assert "# expB/final against expA/final" in call("compare", *folders.values(), *out)
    said = call("compare", *folders.values(), "--label", f"base={folders['expA']}", *out)
    assert "# expB/final against base" in said
    assert "not among the runs" not in said
    assert "NAME=RUN" in call("compare", *folders.values(), "--label", "base", *out, code=2)


def test_two_runs_of_one_checkpoint_are_told_apart_by_their_folders(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("monday", "tuesday"):
        shutil.copytree(folders["expA"], tmp_path / name)
    said = call("compare", tmp_path / "monday", tmp_path / "tuesday", "--output", tmp_path / "comparison")
    assert "# final (tuesday) against final (monday)" in said


def test_no_more_of_a_path_than_tells_it_apart() -> None:
    assert told_apart(["/a/b/final"]) == {"/a/b/final": "final"}
    assert told_apart(["/a/x/final", "/a/y/final", "org/final"]) == {
        "/a/x/final": "x/final",
        "/a/y/final": "y/final",
        "org/final": "org/final",
    }
    twins = told_apart(["/home/ann/x/y/final", "/home/bob/x/y/final"])
    assert len(set(twins.values())) == 2
    assert not any("ann" in name or "bob" in name for name in twins.values()), "people stay out of names"
