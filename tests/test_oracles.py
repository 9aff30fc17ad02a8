"""When a control is not as it must be: what is exact, what varies by chance, and what nobody can tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.leaderboard import board as boards
from connector_bench.leaderboard.alarms import BoardAlarms
from connector_bench.leaderboard.board_files import stored_runs
from connector_bench.leaderboard.merge import merge
from connector_bench.leaderboard.schema import Figure
from connector_bench.leaderboard.verify import verify
from connector_bench.stats.intervals import Score
from connector_bench.stats.oracles import (
    FALSE_ALARMS,
    LARGEST_BOARD,
    RATE,
    as_it_must_be,
    not_as_they_must_be,
)
from tests.leaderboard.runs import a_run, preservation

BOARD = Path(__file__).parents[1] / "leaderboard"


@dataclass(frozen=True)
class Found:
    value: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    n: int | None = None


def test_the_committed_board_raises_no_alarm() -> None:
    table = merge(stored_runs(BOARD))
    found = BoardAlarms.of(row for row in table.rows if row.kind != "control")
    assert not found.off
    assert found.judged > 1000
    assert "are as they must be. Chance alone" in " ".join((BOARD / "LEADERBOARD.md").read_text().split())


def test_a_board_of_figures_of_chance_has_as_many_false_alarms_as_promised() -> None:
    """Figures with 95 % intervals around them, each as likely off as its interval says: 200 boards at a time."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal(LARGEST_BOARD * 200)
    worst = z[np.argsort(-np.abs(z))[:400]]
    alarms = [
        not as_it_must_be("shuffled_knor_10", Found(0.01 + 0.001 * one, *ends(one), 0.01)) for one in worst
    ]
    assert 0 < sum(alarms) / 200 < 5 * FALSE_ALARMS
    assert pytest.approx(FALSE_ALARMS) == RATE * LARGEST_BOARD


def ends(z: float) -> tuple[float, float]:
    half = 0.001 * stats.norm.ppf(0.975)
    return 0.01 + 0.001 * z - half, 0.01 + 0.001 * z + half


@pytest.mark.parametrize(
    ("name", "found", "fine"),
    [
        ("identity_knor_10", Found(0.9996), True),
        ("identity_knor_10", Found(0.9994), False),
        ("rotation_r2_ridge", Found(0.9991), True),
        ("rotation_r2_ridge", Found(0.9989), False),
        ("identity_r2_mlp", Found(0.981), True),
        ("identity_r2_mlp", Found(0.979), False),
        ("shuffled_r2_ridge", Found(0.0645, 0.03, 0.1, 0.0, 19), None),
        ("shuffled_r2_ridge", Found(0.0645, 0.03, 0.1, 0.0, 20), False),
        ("shuffled_knor_10", Found(0.0124, 0.0104, 0.0148, 0.01001), True),
        ("shuffled_knor_10", Found(0.2, 0.19, 0.21, 0.01), False),
        ("shuffled_knor_10", Found(0.2, None, None, 0.01), None),
        ("shuffled_knor_10", Found(0.2, float("nan"), float("nan"), 0.01), None),
        ("shuffled_knor_9", Found(1.0, 1.0, 1.0, 1.0), True),
        ("shuffled_r2_ridge", Found(0.00066, 0.0003, 0.001, 0.0), True),
        ("shuffled_r2_ridge", Found(0.016, 0.014, 0.018, 0.0), False),
        ("shuffled_r2_pooled", Found(0.016), False),
        ("knor_10", Found(0.01, 0.01, 0.01, 0.01), None),
        ("untrained_knor_10", Found(0.01), None),
        ("rank8_r2_ridge", Found(0.01), None),
        ("accuracy", Found(0.3), None),
    ],
)
def test_what_a_figure_must_be(name: str, found: Found, fine: bool | None) -> None:
    assert as_it_must_be(name, found) is fine


@pytest.mark.parametrize(("p", "fine"), [(0.5, True), (1e-5, True), (1e-7, False)])
def test_a_recorded_p_value_goes_before_the_interval(p: float, fine: bool) -> None:
    assert as_it_must_be("shuffled_r2_ridge", Found(0.1, 0.09, 0.11, 0.0), p) is fine
    assert as_it_must_be("shuffled_knor_1", Found(0.1, 0.09, 0.11, 0.001), p) is fine


def test_a_rotation_may_move_standardised_neighbours() -> None:
    off = Found(0.8)
    assert as_it_must_be("rotation_knor_10", off, options={"distance": "l2_standardized"}) is None
    assert as_it_must_be("identity_knor_10", off, options={"distance": "l2_standardized"}) is False
    assert as_it_must_be("rotation_knor_10", off, options={"distance": "cosine"}) is False


def test_a_run_says_in_one_sentence_what_is_off() -> None:
    score = Score(0.2, 0.19, 0.21, 500, 0.02, "")
    scores = {"identity_knor_10": vars(score), "shuffled_knor_10": vars(score), "knor_10": vars(score)}
    (said,) = not_as_they_must_be(scores)
    assert said.endswith("in mind: identity_knor_10 is 0.2, shuffled_knor_10 is 0.2")
    assert not_as_they_must_be({"knor_10": vars(score)}) == []


def off_by(value: float) -> Figure:
    return Figure(value=value, low=value - 0.001, high=value + 0.001, chance=0.01, k=10)


def test_board_page_and_terminal_say_what_is_off(tmp_path: Path) -> None:
    task = preservation(0.5)
    leaking = task.model_copy(update={"figures": {**task.figures, "shuffled_knor_10": off_by(0.2)}})
    fine = task.model_copy(update={"figures": {**task.figures, "shuffled_knor_10": off_by(0.0101)}})
    boards.add(tmp_path, [a_run("org/fine", t=fine), a_run("org/leaks", t=leaking)])
    text = " ".join((tmp_path / "LEADERBOARD.md").read_text().split())
    assert "1 of 2 is **not as they must be**" in text
    assert "- org/leaks: shuffled_knor_10 of t is 0.200" in text
    page = (tmp_path / "index.html").read_text()
    assert page.count("controls not as they must be") == 1
    found = verify(stored_runs(tmp_path), [a_run("org/leaks", t=leaking)])
    assert found.off == ("org/leaks, shuffled_knor_10 of t is 0.200",)
    assert not found.moved
    assert CliRunner().invoke(app, ["leaderboard", "check", "--board", str(tmp_path)]).exit_code == 0
