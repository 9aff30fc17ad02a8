"""The bound on fp32 rounding holds with room to spare, and the search leans on nothing else."""

import itertools

import faiss
import numpy as np
import pytest

from connector_bench.preservation.neighbours import coarse, search
from connector_bench.preservation.neighbours.coarse import half_distances
from connector_bench.preservation.neighbours.space import RoundingBounds, Space

N = 160
KINDS = ("gaussian", "decaying", "positive", "close", "one long", "constant")


def made(kind: str, d: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, d))
    if kind == "decaying":
        x /= np.arange(1, d + 1) ** 0.5
    if kind == "positive":
        x = np.abs(x)  # partial sums only grow
    if kind == "close":
        x = x[:1] + 1e-3 * x
    if kind == "one long":
        x[3] *= 1e4
    if kind == "constant":
        x = np.full((N, d), 0.1) * np.arange(1, N + 1)[:, None]  # every addition rounds alike
    return x.astype(np.float32)


def errors_and_bounds(vectors: np.ndarray, distance: str, worst: bool) -> tuple[np.ndarray, np.ndarray]:
    space = Space.of(vectors, distance)
    lengths, everything = RoundingBounds.of(space), slice(0, N)
    found = 2 * half_distances(space, lengths, everything, everything).astype(np.float64)
    a, b = (side.ravel() for side in np.indices((N, N)))
    true = space.distances(a, b).reshape(N, N)
    bounds = [lengths.error(everything, column, worst=worst) for column in true.T]
    return np.abs(found - true), np.stack(bounds, axis=1)


@pytest.mark.parametrize("distance", ["l2", "cosine", "l2_standardized"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [3, 300, 2048])
def test_no_error_exceeds_the_worst_case(d: int, kind: str, distance: str) -> None:
    errors, bounds = errors_and_bounds(made(kind, d), distance, worst=True)
    assert (errors <= bounds).all()


@pytest.mark.parametrize("kind", KINDS[:-1])
@pytest.mark.parametrize("d", [3, 300, 2048])
def test_errors_stay_well_below_the_likely_bound(d: int, kind: str) -> None:
    errors, bounds = errors_and_bounds(made(kind, d), "l2", worst=False)
    assert 0.005 < (errors / bounds).max() < 0.4


def test_roundings_that_conspire_change_nothing() -> None:
    """Equal dimensions: all additions of a run round alike. Were the likely bound trusted, OpenBLAS would put
    twelve neighbours in the wrong place here."""
    value = np.random.default_rng(1).uniform(1, 1.002, 2000).astype(np.float32)
    away = np.square(value[:, None].astype(np.float64) - value)
    np.fill_diagonal(away, np.inf)
    expected = np.argsort(away, axis=1, kind="stable")[:, :20]
    vectors = np.repeat(value[:, None], 4096, axis=1)
    np.testing.assert_array_equal(search.neighbours(vectors, 20), expected)


@pytest.mark.parametrize("players", range(1, 9))
def test_in_a_tournament_all_pairs_meet_once_and_no_player_is_in_two_places(players: int) -> None:
    rounds = list(coarse._rounds(players))
    expected = list(itertools.combinations_with_replacement(range(players), 2))
    assert sorted(itertools.chain.from_iterable(rounds)) == expected
    for pairs in rounds:
        busy = [player for a, b in pairs for player in {a, b}]
        assert len(busy) == len(set(busy))


@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_and_threads_change_nothing(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).standard_normal((1500, 24)).astype(np.float32)
    expected = search.neighbours(vectors, 40, device="torch-cpu")
    monkeypatch.setattr(faiss, "omp_get_max_threads", lambda: threads)
    monkeypatch.setattr(search, "_block", lambda space, threads: 200)
    np.testing.assert_array_equal(search.neighbours(vectors, 40), expected)


def test_a_margin_too_small_is_made_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a candidate to spare every row's last place is open, and the whole gallery is searched."""
    vectors = np.random.default_rng(0).standard_normal((700, 8)).astype(np.float32)
    expected = search.neighbours(vectors, 30)
    searched = []
    whole = search._search_whole_gallery
    monkeypatch.setattr(search, "_MARGIN", 0)
    monkeypatch.setattr(
        search, "_search_whole_gallery", lambda *args: searched.append(args[2]) or whole(*args)
    )
    np.testing.assert_array_equal(search.neighbours(vectors, 30), expected)
    assert len(searched[0]) == 700
