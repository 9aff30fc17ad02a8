"""What a pull request's comment says of a change."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.leaderboard import board as boards
from connector_bench.leaderboard.diff import MOST_LINES, table_diff
from connector_bench.leaderboard.merge import merge
from tests.leaderboard.runs import a_run, answers, preservation

OLD = [a_run("a", knn_preservation=preservation(0.5)), a_run("gone", vqa=answers(0.3))]
NEW = [
    a_run("a", knn_preservation=preservation(0.5)),
    a_run("a", date="20260102_000000", vqa=answers(0.7)),
    a_run("better", knn_preservation=preservation(0.8)),
]


def test_what_comes_goes_and_changes() -> None:
    said = table_diff(merge(OLD), merge(NEW))
    assert "1 model added: better. 1 model removed: gone." in said
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines() if "|" in line]
    assert [
        "better",
        "knn_preservation: kept beyond chance, k = 10 ↑",
        "",
        "0.800 ±.020, rank 1",
    ] in cells
    assert [
        "a",
        "knn_preservation: kept beyond chance, k = 10 ↑",
        "0.500 ±.020, rank 1",
        "0.500 ±.020, rank 2",
    ] in cells
    assert ["a", "vqa: accuracy ↑", "", "0.700"] in cells
    assert ["gone", "vqa: accuracy ↑", "0.300", ""] in cells


def test_the_same_table_changes_nothing() -> None:
    assert "Nothing changes." in table_diff(merge(OLD), merge(list(reversed(OLD))))


def test_a_figure_behind_the_headlines_is_counted() -> None:
    result = OLD[0].tasks["knn_preservation"]
    control = result.figures["untrained_knor_10"].model_copy(update={"value": 0.1})
    hidden = result.model_copy(update={"figures": {**result.figures, "shuffled_knor_50": control}})
    said = table_diff(merge(OLD), merge([a_run("a", knn_preservation=hidden), OLD[1]]))
    assert "1 figure behind the headlines changes too" in said


def test_a_long_change_is_cut_and_counted() -> None:
    many = [a_run(f"m{i:03}", knn_preservation=preservation(i / 200)) for i in range(MOST_LINES)]
    said = table_diff(merge([]), merge(many))
    assert f"{MOST_LINES:,} more lines are not shown" in said
    assert f"{MOST_LINES} models added" in said
    assert "and 90 more" in said


def test_two_checkouts(tmp_path: Path) -> None:
    boards.add(tmp_path / "old", OLD)
    boards.add(tmp_path / "new", NEW)
    arguments = ["leaderboard", "diff", "--before", str(tmp_path / "old"), "--board", str(tmp_path / "new")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "1 model added: better" in result.output
