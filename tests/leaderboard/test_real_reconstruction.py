"""A run of `patch_reconstruction` by the real command line goes into the board with all that ranks and details need."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.leaderboard import board as boards
from connector_bench.leaderboard.table import Row, Table
from tests.harness import run_here
from tests.reconstruction.small_task import write_small_task

KEY = ("patch_reconstruction_small", "lost")


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 scenes as if they were the whole task: what was run is taken for what there is."""
    task = write_small_task(tmp_path_factory.mktemp("tasks"), KEY[0], images=40)
    folder = tmp_path_factory.mktemp("mlp")
    zoo = ("--model", "connector_zoo", "--model_args", "connector=mlp", "--batch_size", "64")
    run_here(folder, *zoo, *task, "--limit", "80")
    (path,) = folder.rglob("*_results.json")
    content = json.loads(path.read_text())
    content["config"]["limit"] = None
    path.write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def table(output: Path, tmp_path_factory: pytest.TempPathFactory) -> Table:
    board = tmp_path_factory.mktemp("board")
    result = CliRunner().invoke(app, ["leaderboard", "add", str(output), "--pictures", "--board", str(board)])
    assert result.exit_code == 0, result.output
    assert boards.stale_files(board) == []
    assert len(list((board / "pictures").iterdir())) == 6
    return boards.table_with(board, [])[0]


@pytest.fixture(scope="module")
def row(table: Table) -> Row:
    (found,) = table.competitors
    return found


def test_the_sums_of_the_images_give_what_was_lost(row: Row) -> None:
    result = row.results[KEY[0]]
    assert result.measure == "patch_reconstruction"
    sums = [sum(result.per_image[name]) for name in ("sse", "sst")]  # type: ignore[index]
    assert sums[0] / sums[1] == pytest.approx(row.figures[KEY].value, rel=1e-3)
    assert str(row.ranks[KEY]) == "1"
    assert len(result.per_image["sse"]) == result.comparable.n == 20


def test_the_conditions_and_the_budget_are_kept(row: Row) -> None:
    result = row.results[KEY[0]]
    assert result.comparable.train_sha256
    assert result.comparable.options["patch_pairs"] == 6000
    assert result.probe is not None
    assert result.probe.best_probe in result.probe.probes
    assert result.probe.train_images is not None
    assert all(probe["parameters"] for name, probe in result.probe.probes.items() if name != "mean")


def test_loss_maps_cover_the_encoders_grid(row: Row) -> None:
    maps = row.results[KEY[0]].loss_maps
    why = "the same picture for every model"
    assert [(one.why, one.rows, one.columns) for one in maps] == [(why, 14, 14)] * 6
    assert [one.image for one in maps] == sorted(one.image for one in maps)
    means = [sum(one.values) / len(one.values) for one in maps]
    errors = row.results[KEY[0]].per_image["sse"][:6]  # in the order of hashes too
    assert means == pytest.approx([means[0] * error / errors[0] for error in errors], rel=5e-3)


def test_controls_stand_beside_it(table: Table) -> None:
    controls = {row.model: row for row in table.references if row.kind == "control"}
    assert {"identity", "rotation", "rank8", "untrained", "shuffled"} <= set(controls)
    assert controls["identity"].figures[(KEY[0], "r2_ridge")].value > 0.999
    assert controls["shuffled"].figures[(KEY[0], "r2_ridge")].value < 0.01
