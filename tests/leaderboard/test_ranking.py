"""Ranks: who shares one, against the pairwise bootstrap of `oracles.tie_groups`, and what pairing tells apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import connector_bench as cb
from connector_bench.cli import app
from connector_bench.leaderboard import board as boards
from connector_bench.leaderboard.merge import merge
from connector_bench.leaderboard.ranks import Candidate, interval, ranks
from connector_bench.leaderboard.schema import Figure
from connector_bench.stats.paired import Sums
from tests.leaderboard.runs import a_run, preservation, reconstruction
from tests.oracles import tie_groups


def as_mean(values: np.ndarray) -> Candidate:
    return Candidate(Figure(value=float(values.mean())), sums=Sums(values, np.ones(len(values))))


def places(candidates: dict[str, Candidate], higher_is_better: bool = True) -> dict[str, int]:
    return {name: rank.place for name, rank in ranks(candidates, higher_is_better=higher_is_better).items()}


@given(st.integers(0, 10_000), st.lists(st.sampled_from([0.0, 0.02, 0.2]), min_size=2, max_size=5))
@settings(max_examples=15, deadline=None)
def test_means_are_ranked_as_by_the_pairwise_bootstrap(seed: int, shifts: list[float]) -> None:
    rng = np.random.default_rng(seed)
    common = rng.normal(size=200)
    values = [common + shift + 0.1 * rng.normal(size=200) for shift in np.cumsum(shifts)]
    ours = places({str(i): as_mean(column) for i, column in enumerate(values)})
    gaps = [abs(np.mean(a - b)) / np.std(a - b) * np.sqrt(200) for a in values for b in values if a is not b]
    if not any(1.7 < gap < 2.25 for gap in gaps):  # so near the edge of an interval two bootstraps may differ
        assert [ours[str(i)] for i in range(len(values))] == tie_groups(values)


def test_pairing_tells_apart_what_intervals_do_not() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.gamma(2, size=500)
    sst = rng.gamma(4, size=500)
    worse, better = sst * hardness * 0.31, sst * hardness * (0.30 + 0.01 * rng.normal(size=500))
    table = merge(
        [
            a_run("worse", patch_reconstruction=reconstruction(worse, sst)),
            a_run("better", patch_reconstruction=reconstruction(better, sst)),
        ]
    )
    key = ("patch_reconstruction", "lost")
    found = {row.model: row.ranks[key] for row in table.competitors}
    assert (found["better"].place, found["worse"].place) == (1, 2)
    assert found["worse"].paired


def test_without_pairs_the_recorded_intervals_decide() -> None:
    runs = [
        a_run(name, knn_preservation=preservation(kept, half=0.02))
        for name, kept in (("a", 0.5), ("b", 0.47), ("c", 0.44))
    ]
    found = {
        row.model: str(row.ranks[("knn_preservation", "knor_adj_10")]) for row in merge(runs).competitors
    }
    assert found == {"a": "1=", "b": "1=", "c": "3"}
    assert not any(r.paired for row in merge(runs).competitors[1:] for r in row.ranks.values())


def test_where_there_is_no_interval_a_board_makes_none(tmp_path: Path) -> None:
    """Of 30 images, lmms-eval's standard error told two connectors apart; the run had said why there is no interval."""
    before = np.random.default_rng(0).normal(size=(30, 16)).astype(np.float32)
    for name, width in (("wide", 12), ("narrow", 8)):
        cb.knn_preservation(before, before[:, :width], ks=(10,), name=name).save(tmp_path / "runs" / name)
    board = ["--board", str(tmp_path / "board")]
    assert CliRunner().invoke(app, ["leaderboard", "add", str(tmp_path / "runs"), *board]).exit_code == 0
    table, _ = boards.table_with(tmp_path / "board", [])
    column = ("knn_preservation_python", "knor_adj_10")
    for row in table.competitors:
        figure = row.figures[column]
        assert (figure.low, figure.high, figure.stderr) == (None, None, None)
        assert figure.method == "no interval: 30 images, 60 are needed"
        assert str(row.ranks[column]) == "1="
    assert (
        "±"
        not in (tmp_path / "board" / "LEADERBOARD.md").read_text().partition("\n|")[2].partition("\n\n")[0]
    )


def test_a_reference_has_no_rank() -> None:
    table = merge(
        [
            a_run("connector_zoo/identity-seed0", knn_preservation=preservation(1.0)),
            a_run("connector_zoo/mlp-seed0", knn_preservation=preservation(0.5)),
        ]
    )
    assert [row.model for row in table.competitors] == ["connector_zoo/mlp-seed0"]
    assert str(table.competitors[0].ranks[("knn_preservation", "knor_adj_10")]) == "1"
    assert not table.references[0].ranks


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.booleans())
def test_places_are_those_of_a_competition(values: list[float], higher: bool) -> None:
    found = ranks(
        {str(i): Candidate(Figure(value=value, stderr=0.03)) for i, value in enumerate(values)},
        higher_is_better=higher,
    )
    for rank in found.values():
        better = sum(other.place < rank.place for other in found.values())
        assert rank.place == better + 1
        assert rank.shared_by == sum(other.place == rank.place for other in found.values())


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        (Figure(value=0.5, low=0.4, high=0.7, stderr=9.0), (0.4, 0.7)),
        (Figure(value=0.5, stderr=0.1), (0.5 - 0.1959964, 0.5 + 0.1959964)),
        (Figure(value=0.5), (0.5, 0.5)),
    ],
    ids=["recorded", "standard error", "neither"],
)
def test_interval(figure: Figure, expected: tuple[float, float]) -> None:
    assert interval(figure) == pytest.approx(expected, abs=1e-6)
