"""The committed table is what its results generate, and shows what the zoo was built to show."""

from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.leaderboard.alarms import BoardAlarms
from connector_bench.leaderboard.board_files import stored_runs
from connector_bench.leaderboard.merge import merge
from connector_bench.leaderboard.table import Row
from connector_bench.zoo.named_connectors import connector_names

BOARD = Path(__file__).parents[2] / "leaderboard"
KS = (1, 10, 50, 100)


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    return {row.model: row for row in merge(stored_runs(BOARD)).rows if row.kind != "control"}


def value(row: Row, task: str, metric: str) -> float:
    return row.figures[(task, metric)].value


def test_the_table_is_not_stale() -> None:
    result = CliRunner().invoke(app, ["leaderboard", "check", "--board", str(BOARD)])
    assert result.exit_code == 0, result.output


def test_the_whole_zoo_is_there(rows: dict[str, Row]) -> None:
    assert {f"connector_zoo/{name}-seed0" for name in connector_names()} <= set(rows)


@pytest.mark.parametrize("connector", ["identity", "rotation"])
def test_what_loses_nothing_keeps_all(rows: dict[str, Row], connector: str) -> None:
    for k in KS:
        assert value(rows[f"connector_zoo/{connector}-seed0"], "knn_preservation", f"knor_{k}") > 0.9995


def test_shuffled_pairs_are_at_chance_and_no_control_raises_an_alarm(rows: dict[str, Row]) -> None:
    alarms = BoardAlarms.of(rows.values())
    assert alarms.judged > 46 * 40
    assert not alarms.off
    for row in rows.values():
        for task, others in (("knn_preservation", 1023), ("knn_preservation_scenes", 999)):
            for k in KS:
                found = row.figures[(task, f"shuffled_knor_{k}")]
                assert found.value == pytest.approx(k / others, abs=0.004), (row.model, task, k)


def test_the_zoo_spreads_and_nobody_is_at_the_ceiling(rows: dict[str, Row]) -> None:
    accuracy = {model: value(row, "scenes_vqa", "accuracy") for model, row in rows.items()}
    assert max(accuracy.values()) - min(accuracy.values()) >= 0.4
    assert max(accuracy.values()) < 0.97


def test_a_narrow_bottleneck_is_below_the_perceptron(rows: dict[str, Row]) -> None:
    mlp, rank2 = (rows[f"connector_zoo/{name}-seed0"] for name in ("mlp", "rank2"))
    kept, lost = (row.figures[("knn_preservation", "knor_10")] for row in (mlp, rank2))
    assert lost.high is not None
    assert kept.low is not None
    assert lost.high < kept.low
    assert value(rank2, "scenes_vqa", "accuracy") < value(mlp, "scenes_vqa", "accuracy") - 0.2
    assert value(mlp, "scenes_vqa", "accuracy_object") > 0.8


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_narrower_connectors_lose_more_and_no_interval_meets_another(rows: dict[str, Row], seed: int) -> None:
    names = ("rank2", "rank8", "rank32", "mlp")
    lost = [
        rows[f"connector_zoo/{name}-seed{seed}"].figures[("patch_reconstruction", "lost")] for name in names
    ]
    for more, less in pairwise(lost):
        assert more.low is not None
        assert less.high is not None
        assert more.low > less.high


def test_the_controls_of_every_run_are_where_they_must_be(rows: dict[str, Row]) -> None:
    for row in rows.values():
        for metric in ("identity_r2_ridge", "identity_r2_mlp", "rotation_r2_ridge", "rotation_r2_mlp"):
            assert value(row, "patch_reconstruction", metric) >= 0.999, (row.model, metric)
