"""Result files of the real command line, five families and the zoo, go into one board without hand work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.leaderboard import board as boards
from connector_bench.leaderboard.harness_results import read_run
from connector_bench.leaderboard.schema import StoredRun
from connector_bench.results.harness_files import UnusableResult
from tests.leaderboard.conftest import ANSWERED, FAMILIES, MEASURED, PICTURES

ZOO_MLP = "connector_zoo/mlp-seed0"
KEPT, ACCURACY = (MEASURED, "knor_adj_10"), (ANSWERED, "accuracy")


def add(board: Path, *folders: Path) -> str:
    result = CliRunner().invoke(app, ["leaderboard", "add", *map(str, folders), "--board", str(board)])
    assert result.exit_code == 0, result.output
    return result.output


def run_of(real_runs: dict[str, Path], name: str) -> StoredRun:
    for path in sorted(real_runs[name].rglob("*_results.json")):
        run = read_run(path)
        if MEASURED in run.tasks:
            return run
    raise AssertionError(f"{name} was not measured")


def test_five_families_and_the_zoo_make_one_table(real_runs: dict[str, Path], tmp_path: Path) -> None:
    board = tmp_path / "board"
    add(board, *real_runs.values())
    assert boards.stale_files(board) == []
    table, _ = boards.table_with(board, [])
    rows = {row.model: row for row in table.competitors}
    assert set(rows) == {*FAMILIES, ZOO_MLP}
    for row in rows.values():
        assert row.figures.keys() >= {KEPT, ACCURACY}
        assert row.connector is not None
        assert KEPT in row.ranks
    families = {row.connector.family for row in rows.values() if row.connector}
    assert families == {*FAMILIES, "connector_zoo"}


def test_runs_of_one_model_in_separate_runs_are_one_row_with_two_sources(
    real_runs: dict[str, Path], tmp_path: Path
) -> None:
    add(tmp_path, real_runs["mlp"])
    assert len(list((tmp_path / "results").iterdir())) == 2
    table, _ = boards.table_with(tmp_path, [])
    (row,) = table.competitors
    assert {ANSWERED, MEASURED} <= {
        word for source in row.provenance.values() for word in source.command.split()
    }


def test_adding_twice_changes_nothing(real_runs: dict[str, Path], tmp_path: Path) -> None:
    add(tmp_path, real_runs["llava"])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    add(tmp_path, real_runs["llava"])
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_what_is_kept_of_a_run(real_runs: dict[str, Path]) -> None:
    run = run_of(real_runs, "qwen2_vl")
    result = run.tasks[MEASURED]
    assert result.measure == "knn_preservation"
    assert result.comparable.n == PICTURES
    assert len(result.per_image["knor_10"]) == PICTURES
    assert sum(result.per_image["knor_10"]) / PICTURES == pytest.approx(
        result.figures["knor_10"].value, abs=1e-4
    )
    assert result.figures["knor_10"].k == 10
    assert result.figures["knor_10"].method
    assert result.figures["knor_10"].chance == pytest.approx(10 / (PICTURES - 1), rel=1e-5)
    answered = run.tasks[ANSWERED]
    assert answered.measure is None
    assert answered.comparable.documents_sha256
    assert run.connector is not None
    assert run.connector.family == "qwen2_vl"
    assert "--model qwen2_vl --model_args pretrained=qwen2_vl,device=cpu" in run.provenance.command
    assert "max_pixels=12544" in run.provenance.command
    assert run.provenance.versions["transformers"]
    assert run.provenance.seeds["torch_seed"] == 1234


def test_no_folder_of_this_machine_is_committed(real_runs: dict[str, Path], tmp_path: Path) -> None:
    add(tmp_path, *real_runs.values())
    for path in tmp_path.rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert str(real_runs["llava"].parent) not in text
            assert "/tmp/" not in text
    assert all(path.stat().st_size < 60_000 for path in (tmp_path / "results").iterdir())


def test_samples_of_other_images_are_refused(real_runs: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(real_runs["llava"], tmp_path / "copy")
    (samples,) = copy.rglob(f"*_samples_{MEASURED}.jsonl")
    lines = samples.read_text().splitlines()
    samples.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(UnusableResult, match=f"its {PICTURES - 1} images .* are not those of"):
        boards.read_runs([copy])


def test_samples_that_do_not_give_the_figure_are_refused(real_runs: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(real_runs["llava"], tmp_path / "copy")
    (samples,) = copy.rglob(f"*_samples_{MEASURED}.jsonl")
    samples.write_text(samples.read_text().replace('\\"knor_10\\": 0.', '\\"knor_10\\": 0.0'))
    with pytest.raises(UnusableResult, match="its images give knor_10"):
        boards.read_runs([copy])


def test_a_run_without_samples_is_taken(real_runs: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(real_runs["llava"], tmp_path / "copy")
    for samples in copy.rglob("*_samples_*"):
        samples.unlink()
    (run,) = boards.read_runs([copy])
    assert run.tasks[MEASURED].per_image == {}
    assert run.tasks[ANSWERED].comparable.documents_sha256 is None


def test_a_part_of_a_task_is_refused(real_runs: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(real_runs["llava"], tmp_path / "copy")
    (path,) = copy.rglob("*_results.json")
    content = json.loads(path.read_text())
    content["config"]["limit"] = 12
    path.write_text(json.dumps(content))
    with pytest.raises(UnusableResult, match="--limit 12"):
        boards.read_runs([copy])


def test_two_models_of_different_families_are_compared_on_the_same_pictures(
    real_runs: dict[str, Path], tmp_path: Path
) -> None:
    sides = [str(real_runs[name]) for name in ("llava", "mlp")]
    result = CliRunner().invoke(app, ["compare", *sides, "--output", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    numbers = json.loads((tmp_path / "out" / "comparison.json").read_text())
    found = {(item["task"], item["metric"]): item for item in numbers["differences"]}
    llava, mlp = (
        run_of(real_runs, name).tasks[MEASURED].figures["knor_10"].value for name in ("llava", "mlp")
    )
    assert found[(MEASURED, "knor_10")]["difference"]["value"] == pytest.approx(mlp - llava, abs=1e-5)
    assert (tmp_path / "out" / f"differences_{MEASURED}.png").is_file()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("board_is_there", [False, True])
def test_adds_at_once_keep_every_result(
    real_runs: dict[str, Path], tmp_path: Path, board_is_there: bool
) -> None:
    names = ["llava", "qwen2_vl", "internvl", "idefics2"]
    board = tmp_path / "board"
    if board_is_there:
        add(board, real_runs["mlp"])
    command = [sys.executable, "-m", "tests.leaderboard.adds_at_once", str(board)]
    finished = subprocess.run(
        [*command, *(str(real_runs[name]) for name in names)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert json.loads(finished.stdout.splitlines()[-1]) == [0] * len(names), finished.stderr
    assert boards.stale_files(board) == []
    table, _ = boards.table_with(board, [])
    assert {row.model for row in table.competitors} == {*names} | ({ZOO_MLP} if board_is_there else set())
