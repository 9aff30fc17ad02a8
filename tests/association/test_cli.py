"""`connector-bench analyze` as a user calls it."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from connector_bench.cli import app
from tests.association.test_across import NAMES, write_zoo
from tests.association.written import scenes, write_run
from tests.report.written import write_result


def analyze(*arguments: object) -> Result:
    wide = {"COLUMNS": "200"}
    return CliRunner().invoke(app, ["analyze", *map(str, arguments)], env=wide)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    ours, theirs = scenes(np.random.default_rng(0), 150, 3, effect=1.5)
    write_run(folder, connector={"patch_reconstruction": ours}, scored={"scenes_vqa": theirs})
    return folder


def test_the_summary_the_figures_and_the_table(run: Path, tmp_path: Path) -> None:
    found = analyze(run, "--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv")
    assert found.exit_code == 0, found.output
    assert "patch_reconstruction beside scenes_vqa" in found.output
    assert "joined by document number and target and input" in found.output
    assert "not significant" in found.output
    assert "±: 95 % interval; + and −: its two sides" in found.output
    assert "error inside the answer" in found.output
    assert "entropy, norm of the encoder's tokens held fixed" in " ".join(found.output.split())
    assert not re.search(r"\[-?\d|loss_inside|encoder_norm", found.output), "no brackets, no code names"
    assert "loss inside and outside the answer mask" in found.output
    content = json.loads((tmp_path / "a.json").read_text())
    pairs = {pair["loss"]: pair for pair in content["pairs"]}
    inside, outside = pairs["loss_inside"], pairs["loss_outside"]
    assert inside["spearman"]["significant"]
    assert not outside["spearman"]["significant"]
    assert inside["spearman"]["value"] < -0.2
    assert inside["partial"]["controls"] == ["mask_area", "entropy", "encoder_norm"]
    assert inside["quartiles"]["difference"]["high"] < 0
    prediction = inside["prediction"]
    assert prediction["auroc"]["low"] > 0.6
    assert {entry["name"] for entry in prediction["baselines"]} == {"mask_area", "entropy", "encoder_norm"}
    assert all(entry["advantage"]["low"] > 0 for entry in prediction["baselines"])
    rates = [entry["failure_rate"]["value"] for entry in prediction["calibration"]]
    assert len(rates) == 10
    assert rates[-1] - rates[0] > 0.4
    measures = {entry["measure"]: entry for entry in content["grounded"]}
    assert set(measures) == {"mse", "norm", "cosine"}
    assert measures["mse"]["difference"]["significant"]
    assert not measures["norm"]["difference"]["significant"]
    table = pd.read_csv(tmp_path / "a.csv")
    assert len(table) == 450
    assert {"doc_id", "image", "lost", "loss_inside", "mask_area", "accuracy"} <= set(table)
    rank = table["loss_inside"].corr(table["accuracy"], method="spearman")
    assert inside["spearman"]["value"] == pytest.approx(rank, abs=1e-5)


def test_nothing_is_found_where_nothing_is_planted(tmp_path: Path) -> None:
    ours, theirs = scenes(np.random.default_rng(2), 150, 3, effect=0.0)
    write_run(tmp_path, connector={"patch_reconstruction": ours}, scored={"scenes_vqa": theirs})
    found = analyze(tmp_path, "--all", "--json", tmp_path / "a.json")
    assert found.exit_code == 0
    assert "q = " not in found.output
    content = json.loads((tmp_path / "a.json").read_text())
    assert not any(pair["spearman"]["significant"] for pair in content["pairs"])


def test_a_refused_join_is_an_error_that_says_why(run: Path, tmp_path: Path) -> None:
    ours, theirs = scenes(np.random.default_rng(0), 20, 2, effect=0.0)
    write_run(tmp_path, connector={"patch_reconstruction": ours}, scored={"scenes_vqa": theirs[1:]})
    found = analyze(tmp_path, run)
    assert found.exit_code == 1
    assert "refused: connector_zoo/rank8-seed0: patch_reconstruction beside scenes_vqa" in found.output
    assert "document 0" in found.output


def test_what_has_no_figure_takes_one_line_per_model(tmp_path: Path) -> None:
    for name in ("one", "two"):
        ours, theirs = scenes(np.random.default_rng(0), 20, 2, effect=0.0)
        for row in theirs:
            row["accuracy"] = 1.0
        write_run(
            tmp_path / name,
            model=f"connector_zoo/{name}-seed0",
            connector={"patch_reconstruction": ours},
            scored={"scenes_vqa": theirs},
        )
    found = analyze(tmp_path, "--json", tmp_path / "a.json")
    lines = [line for line in found.output.splitlines() if line.startswith("no figure: ")]
    assert len(lines) == 2, found.output
    assert " ".join(found.output.split()).count("every document scores 1") == 2, (
        "wrapped as wide as the terminal"
    )


@pytest.mark.parametrize("wrong", ["nowhere", "empty"])
def test_paths_without_results_are_named(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "empty").mkdir()
    found = analyze(tmp_path / wrong)
    assert found.exit_code == 1
    assert wrong in found.output


def test_the_figure_across_connectors(tmp_path: Path) -> None:
    write_zoo(tmp_path / "runs", NAMES, seeds=2)
    first, second = (tmp_path / name / "zoo.png" for name in ("a", "b"))
    for path in (first, second):
        found = analyze(tmp_path / "runs", "--across", "--figure", path)
        assert found.exit_code == 0, found.output
    assert "Across connectors" in found.output
    with Image.open(BytesIO(first.read_bytes())) as drawn:
        assert drawn.width > 600
        colours = {colour for _, colour in drawn.convert("RGB").getcolors(2**20)}
    assert {(31, 119, 180), (44, 160, 44), (255, 127, 14)} <= colours, "one colour a group"


def test_names_in_the_figure_are_no_formulas(tmp_path: Path) -> None:
    write_zoo(tmp_path / "runs", [*NAMES[:-1], "$x^$"])
    found = analyze(tmp_path / "runs", "--across", "--figure", tmp_path / "zoo.png")
    assert found.exit_code == 0, found.output


def test_nothing_to_join_is_said(tmp_path: Path) -> None:
    """A run of another task alone: neither a loss nor anything that was left out."""
    write_result(tmp_path, {}, {"vqa": {"accuracy,none": 0.5}})
    found = analyze(tmp_path)
    assert found.exit_code == 1
    assert "refused: no loss beside a score" in found.stderr


def test_a_figure_needs_something_to_draw(run: Path, tmp_path: Path) -> None:
    found = analyze(run, "--figure", tmp_path / "zoo.png")
    assert found.exit_code == 1
    assert "nothing to draw" in found.output
    assert not (tmp_path / "zoo.png").exists()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_zoo(tmp_path / "runs", NAMES[:3])
    (tmp_path / "taken").write_text("a file, not a folder")
    found = analyze(tmp_path / "runs", "--across", "--json", tmp_path / "taken" / "a.json")
    assert found.exit_code == 1
    assert "cannot write" in found.output
