"""The command's files, reasons and models' names, and the digits of a difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.comparison.words import changed
from tests.comparison.harness_output import ordinary_task, outcomes, write_output


def test_the_command_leaves_text_numbers_and_plots(tmp_path: Path) -> None:
    sides = [
        write_output(tmp_path / name, {"t": ordinary_task(outcomes(share, seed=i))}, model=f"org/{name}$<b>")
        for i, (name, share) in enumerate((("a", 0.3), ("b", 0.9)))
    ]
    arguments = ["compare", *map(str, sides), "--output", str(tmp_path / "out"), "--task", "t"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "better" in result.output
    numbers = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert numbers["differences"][0]["q"] < 0.05
    with Image.open(tmp_path / "out" / "differences_t.png") as picture:
        assert picture.width > 600
        assert len(picture.convert("L").getcolors(256) or []) > 5


def test_the_command_refuses_with_a_reason(tmp_path: Path) -> None:
    folder = write_output(tmp_path / "a", {"t": ordinary_task(outcomes(0.5))})
    result = CliRunner().invoke(app, ["compare", str(folder), str(tmp_path / "nowhere")])
    assert result.exit_code == 1
    assert "refused: " in result.output
    assert "nowhere" in result.output


def test_a_model_of_a_folder_with_several_is_named(tmp_path: Path) -> None:
    """As FOLDER:MODEL, by a part of its name, and with --model; the page names them by it."""
    for i, name in enumerate(("a-500", "a-1000", "b")):
        tasks = {"t": ordinary_task(outcomes(0.2 + 0.3 * i, seed=i))}
        write_output(tmp_path / "runs" / name, tasks, model=f"org/{name}")
    runs, out = str(tmp_path / "runs"), ("--output", str(tmp_path / "out"))

    def said(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["compare", *arguments, *out])

    whole = said(f"{runs}:org/a-500", f"{runs}:a-1000")
    assert whole.exit_code == 0, whole.output
    assert "org/a-1000 is better than org/a-500: t, accuracy, " in whole.output
    assert said(runs, "--model", "a-500", "--model", "org/b").exit_code == 0
    named = said("--label", f"first={runs}:a-500", "--label", f"then={runs}:b")
    assert "then is better than first" in named.output
    curves = said(f"{runs}:a-500", f"{runs}:a-1000", f"{runs}:b", "--steps", "1,2,3")
    assert "3 checkpoints, step 1 to 3" in curves.output
    assert "2 checkpoints, step 500 to 1000" not in curves.output
    for arguments, reason in (
        ((f"{runs}:a", f"{runs}:b"), "fits org/a-1000, org/a-500"),
        ((f"{runs}:c", f"{runs}:b"), "is no model there; there are org/a-1000, org/a-500, org/b"),
        ((runs, f"{runs}:b"), "holds 3 models"),
    ):
        refused = said(*arguments)
        assert refused.exit_code == 1
        assert reason in refused.output


@pytest.mark.parametrize(
    ("ends", "shown"),
    [
        ((0.3207, 0.305, 0.336), "+0.321 ±.016"),
        ((-0.3207, -0.336, -0.305), "−0.321 ±.016"),
        ((0.0004, 0.0001, 0.0007), "+0.0004 (+0.0001 to +0.0007)"),
        ((-0.002, -0.005, 0.001), "−0.002 (−0.005 to +0.001)"),
        ((0.0, 0.0, 0.0), "0.000 ±.000"),
        ((0.25, float("nan"), float("nan")), "+0.250"),
        ((0.0004, float("nan"), float("nan")), "+0.0004"),
    ],
)
def test_a_difference_keeps_digits_that_count(ends: tuple[float, float, float], shown: str) -> None:
    assert changed(*ends) == shown
