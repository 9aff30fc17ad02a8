"""A change of a measure cannot move committed figures unnoticed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.leaderboard import board as boards
from connector_bench.leaderboard.board_files import stored_runs
from connector_bench.leaderboard.schema import Figure, TaskResult
from connector_bench.leaderboard.verify import ROUNDING, verify
from connector_bench.results.harness_files import UnusableResult
from tests.leaderboard.conftest import MEASURED
from tests.leaderboard.runs import a_run, answers, preservation, reconstruction

COMMITTED = [a_run("m", t=preservation(0.5, half=0.02))]


@pytest.mark.parametrize("now", [0.5, 0.519, 0.481])
def test_what_stays_within_its_interval_agrees(now: float) -> None:
    found = verify(COMMITTED, [a_run("m", t=preservation(now))])
    assert found.moved == ()
    assert found.agreed == 2


@pytest.mark.parametrize("now", [0.53, 0.47, 0.0])
def test_what_leaves_its_interval_moved(now: float) -> None:
    (moved,) = verify(COMMITTED, [a_run("m", t=preservation(now))]).moved
    assert moved == f"m, t, knor_adj_10: 0.500 ±.020 was committed, now {now:.3f}"


@pytest.mark.parametrize(("by", "moves"), [(ROUNDING / 2, False), (ROUNDING * 2, True)])
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_without_an_interval_rounding_alone_is_allowed(by: float, scale: float, moves: bool) -> None:
    def task(value: float) -> TaskResult:
        return answers(0.5).model_copy(update={"figures": {"erank": Figure(value=value)}})

    assert bool(verify([a_run(t=task(scale))], [a_run(t=task(scale + by * scale))]).moved) is moves


def test_a_figure_that_is_gone_moved_and_a_new_one_did_not() -> None:
    task = preservation(0.5)
    fewer = task.model_copy(update={"figures": {"knor_adj_10": task.figures["knor_adj_10"]}})
    (gone,) = verify([a_run(t=task)], [a_run(t=fewer)]).moved
    assert gone.endswith("untrained_knor_10: 0.600 was committed, now there is none")
    assert verify([a_run(t=fewer)], [a_run(t=task)]).moved == ()


@pytest.mark.parametrize(
    ("condition", "change"),
    [("n", {"n": 999}), ("images_sha256", {"images": "y"}), ("options", {"distance": "cosine"})],
)
def test_other_conditions_under_the_same_version_moved(condition: str, change: dict) -> None:
    before, now = (preservation(0.5, **{"distance": "l2", **given}) for given in ({}, change))
    (moved,) = verify([a_run(t=before)], [a_run(t=now)]).moved
    assert moved.startswith(f"m, t, {condition}: ")


def test_a_new_protocol_version_may_move_everything_and_says_so() -> None:
    found = verify(COMMITTED, [a_run("m", t=preservation(0.1, protocol="2"))])
    assert found.moved == ()
    assert found.other_version == ("m, t: protocol version 2 instead of 1",)


def test_the_latest_committed_run_counts() -> None:
    later = a_run("m", date="20270101_000000", t=preservation(0.7))
    assert verify([later, *COMMITTED], [a_run("m", t=preservation(0.7))]).moved == ()


def test_nothing_to_compare_with_is_no_success() -> None:
    with pytest.raises(UnusableResult, match="no result to compare with of: other, t"):
        verify(COMMITTED, [a_run("other", t=preservation(0.5))])


@pytest.fixture(scope="module")
def twice(measure: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A board that holds a run of the zoo, and the output of the same command line once more."""
    folder = tmp_path_factory.mktemp("twice")
    first, again = (measure(folder / name, "connector_zoo", "connector=mlp", MEASURED) for name in "ab")
    boards.add(folder / "board", boards.read_runs([first]))
    return folder / "board", again


def test_the_same_command_gives_the_committed_figures_again(twice: tuple[Path, Path]) -> None:
    board, again = twice
    result = CliRunner().invoke(app, ["leaderboard", "verify", str(again), "--board", str(board)])
    assert result.exit_code == 0, result.output
    (run,) = stored_runs(board)
    assert f"{len(run.tasks[MEASURED].figures)} figures are what" in result.output


def test_a_moved_figure_fails_the_command(twice: tuple[Path, Path], tmp_path: Path) -> None:
    board, again = twice
    (run,) = stored_runs(board)
    task = run.tasks[MEASURED]
    moved = task.figures["cka"].model_copy(update={"value": -0.5, "low": None, "high": None})
    task = task.model_copy(update={"figures": {**task.figures, "cka": moved}})
    boards.add(tmp_path, [run.model_copy(update={"tasks": {MEASURED: task}})])
    result = CliRunner().invoke(app, ["leaderboard", "verify", str(again), "--board", str(tmp_path)])
    assert result.exit_code == 1
    assert f"moved: connector_zoo/mlp-seed0, {MEASURED}, cka: −0.500 was committed, now " in result.output


def test_what_reads_the_same_in_three_decimals_has_all_its_digits() -> None:
    (moved,) = verify(
        [a_run(t=reconstruction([0.2496], [1.0]))], [a_run(t=reconstruction([0.2504], [1.0]))]
    ).moved
    assert moved == "m, t, lost: 0.250 was committed, now 0.2504 (and 0.2496 before)"
