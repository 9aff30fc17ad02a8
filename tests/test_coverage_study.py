"""The study of intervals: every family simulates with what a run calls, truths are right, verdicts and table follow."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from benchmarks.coverage import __main__ as study_command
from benchmarks.coverage import connectors, reconstruction, simulated
from benchmarks.coverage.setting import Outcome, Setting
from benchmarks.coverage.settings import SETTINGS
from benchmarks.coverage.simulated import Row, Share, simulate
from benchmarks.coverage.study import brief, read, said

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("family", dict.fromkeys(setting.family for setting in SETTINGS))
def test_every_family_is_simulated(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconstruction, "MANY", 1)
    settings = [setting for setting in SETTINGS if setting.family == family]
    rows = list(simulate(settings[1 if family == "reconstruction" else 0], 3))
    assert rows
    for row in rows:
        if row.coverage is None:
            assert (row.given, row.verdict, row.half_width) == (0, "refused", None), row.figure
        else:
            assert 0 <= row.coverage.value <= 1
            assert row.half_width is not None
            assert row.half_width > 0, row.figure


def test_names_of_settings_tell_them_apart() -> None:
    """Draws follow from the names, and so do the rows that are read back."""
    assert len({(setting.family, setting.name) for setting in SETTINGS}) == len(SETTINGS)


def normal(sigma: float) -> Setting:
    """An interval of a normal number that is as wide as if its deviation were `sigma`, where it is 1."""

    def draw(rng: np.random.Generator, _: int) -> dict[str, Outcome]:
        value = float(rng.normal())
        p = float(2 * special.ndtr(-abs(value) / sigma))
        return {"number": Outcome(value, value - 1.96 * sigma, value + 1.96 * sigma, p)}

    return Setting("normal", f"{sigma}", draw, lambda: {"number": 0.0}, null=True)


@pytest.mark.parametrize(
    ("sigma", "verdict"),
    [
        (1.0, "holds"),
        (0.7, "covers too rarely, rejects too often"),
        (1.5, "covers too often, rejects too rarely"),
    ],
)
def test_wrong_intervals_are_found_out(sigma: float, verdict: str) -> None:
    (row,) = simulate(normal(sigma), 2000)
    assert row.verdict == verdict
    assert row.bold == (sigma < 1)
    assert row.coverage is not None
    assert row.coverage.value == pytest.approx(2 * special.ndtr(1.96 * sigma) - 1, abs=3 * row.coverage.error)
    assert simulated.LEVEL == 0.05
    assert row.rejected is not None
    assert row.rejected.value == pytest.approx(1 - row.coverage.value, abs=0.001)


def test_few_simulations_prove_nothing() -> None:
    assert Share(0.9, 20).beyond((0.93, 0.97)) == 0
    assert Share(0.9, 2000).beyond((0.93, 0.97)) == -1
    assert Share(1.0, 2000).beyond((0.93, 0.97)) == 1
    assert str(Share(0.95, 500)) == ".950 ± .010"


@pytest.mark.parametrize("of", [reconstruction.ORDINARY, reconstruction.LEANING])
def test_the_truth_of_a_board_is_that_of_its_images(
    of: reconstruction.Variance,
) -> None:
    """What is lost, from totals and shares alone, without patches; .7 is what the MLP misses of its share."""
    found = reconstruction.truth_of(of, 2)
    rng = np.random.default_rng(1)
    totals, (share,) = reconstruction.totals_and_shares(rng, 400_000, of)
    lost = float((totals * share).sum() / totals.sum())
    assert found["lost"] == pytest.approx(0.7 * lost, rel=0.05)
    assert found["r2_ridge"] == pytest.approx(1 - lost, abs=0.02)
    assert found["lost"] == pytest.approx(1 - found["r2_mlp"], abs=1e-12)
    assert found["nmse"] == pytest.approx(found["lost"], rel=0.1)


def test_connectors_have_the_correlation_that_they_are_said_to_have() -> None:
    """Seeds' scatter weakens it: the means of very many connectors."""
    sides = connectors.scattered(np.random.default_rng(0), 40_000, [[1, -0.8], [-0.8, 1]]).mean(axis=2)
    ranks = sides.argsort(axis=1).argsort(axis=1)
    assert np.corrcoef(ranks)[0, 1] == pytest.approx(connectors.rank_correlation_of(-0.8), abs=0.01)
    assert connectors.rank_correlation_of(0.0) == 0


def test_a_study_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = []

    def counted(name: str) -> Setting:
        def draw(rng: np.random.Generator, number: int) -> dict[str, Outcome]:
            drawn.append(name)
            return {"figure": Outcome(0.5, 0.0, 1.0), "few": Outcome(0.5, math.nan, math.nan)}

        return Setting("made", name, draw, lambda: {"figure": 0.5})

    path = tmp_path / "study.json"
    for names in ("a", "ab"):
        monkeypatch.setattr(study_command, "SETTINGS", tuple(map(counted, names)))
        monkeypatch.setattr(sys, "argv", ["coverage", "--simulations", "30", "--json", str(path)])
        study_command.main()
    assert (drawn.count("a"), drawn.count("b")) == (30, 30)
    rows = read(path)
    assert [(row.setting, row.figure, row.verdict) for row in rows] == [
        ("a", "figure", "holds"),
        ("a", "few", "refused"),
        ("b", "figure", "holds"),
        ("b", "few", "refused"),
    ]
    assert said(rows) in capsys.readouterr().out


def test_what_does_not_hold_is_named_in_brief() -> None:
    def row(setting: str, covered: float | None) -> Row:
        shares = (None, None) if covered is None else (Share(covered, 500), Share(0.05, 500))
        return Row("made", setting, "figure", 500, 0, float(covered is not None), *shares, 0.1)

    line = brief([row("a", 0.94), row("b", 0.8), row("c", 0.96), row("d", None)]).splitlines()[-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:5] == ["made", "figure", "3 of 4", ".800 to .960", ".050"]
    assert cells[5] == "b: covers too rarely (.800 ± .018)"


def test_the_documented_table_is_the_studys() -> None:
    rows: list[Row] = read(DOCS / "coverage.json")
    text = (DOCS / "AGREEMENT.md").read_text()
    assert brief(rows) in text
    known = {(setting.family, setting.name) for setting in SETTINGS}
    assert {(row.family, row.setting) for row in rows} <= known
    assert all(row.simulations >= 500 for row in rows)
