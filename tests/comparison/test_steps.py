"""Checkpoints through training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.comparison.compared_runs import side_of
from connector_bench.comparison.steps import curves, steps_of
from tests.comparison.harness_output import ordinary_task, write_output

SHARES = (0.3, 0.5, 0.7)


@pytest.fixture
def checkpoints(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    hardness = rng.permutation(300) / 300
    return [
        write_output(
            tmp_path / f"checkpoint-{step}",
            {"t": ordinary_task((hardness < share).astype(float))},
            model="org/m",
        )
        for step, share in zip((100, 200, 400), SHARES, strict=True)
    ]


def test_a_curve_has_the_figures_and_paired_differences_to_the_first(checkpoints: list[Path]) -> None:
    sides = [side_of(path) for path in checkpoints]
    (curve,) = curves(sides, steps_of(sides))
    assert [point.step for point in curve.points] == [100, 200, 400]
    for point, share in zip(curve.points, SHARES, strict=True):
        assert point.low < point.value < point.high
        assert point.value == pytest.approx(share, abs=1e-9)
    first, *later = curve.points
    assert first.from_first is None
    for point in later:
        assert point.from_first is not None
        assert point.from_first.value == pytest.approx(point.value - first.value)
        assert point.q is not None
        assert point.q < 0.01
        assert point.from_first.high - point.from_first.low < point.high - point.low + first.high - first.low


def test_steps_come_from_the_option_the_names_or_the_order(checkpoints: list[Path], tmp_path: Path) -> None:
    sides = [side_of(path) for path in checkpoints]
    assert steps_of(sides, "1,5,25") == [1, 5, 25]
    assert steps_of(sides) == [100, 200, 400]
    assert steps_of(list(reversed(sides))) == [1, 2, 3]
    with pytest.raises(ValueError, match="3 checkpoints need as many rising steps"):
        steps_of(sides, "1,2")
    with pytest.raises(ValueError, match="numbers between commas"):
        steps_of(sides, "a,b,c")


def test_the_command(checkpoints: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "out"
    result = CliRunner().invoke(app, ["compare", *map(str, checkpoints), "--output", str(output)])
    assert result.exit_code == 0, result.output
    assert "improves from 0.300 to 0.700" in result.output
    (curve,) = json.loads((output / "curves.json").read_text())
    assert [point["q"] is None for point in curve["points"]] == [True, False, False]
    with Image.open(output / "curves_t.png") as picture:
        assert picture.width > 300
