"""Intervals of an overlap cover its expectation over other galleries, where resampling queries does not."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from connector_bench.preservation import knn, overlap_interval
from connector_bench.preservation.overlap import CommonNeighbours
from connector_bench.preservation.overlap_interval import (
    Halvings,
    depth,
    overlap_without_each,
    scores_of_overlap,
)
from connector_bench.stats import jackknife
from connector_bench.stats.intervals import Score

SIMULATIONS = 500
N, KS = 100, (3, 10)
Sides = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]


def related(rng: np.random.Generator, n: int = N, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    pre = rng.normal(size=(n, d))
    return pre, np.tanh(pre) + 0.4 * rng.normal(size=(n, d))


def unrelated(rng: np.random.Generator, d: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(N, d)), rng.normal(size=(N, d))


def searched(side: np.ndarray, columns: int) -> np.ndarray:
    """Neighbours by sorting all distances: for small sets the fastest way."""
    squares = np.square(side).sum(1)
    away = squares[:, None] + squares - 2 * side @ side.T
    np.fill_diagonal(away, np.inf)
    return np.argsort(away, axis=1)[:, :columns]


def overlap_scores(
    pre_lists: np.ndarray, post_lists: np.ndarray, ks: Sequence[int], *, seed: int = 0
) -> dict[int, Score]:
    """As a run has them, of lists alone."""
    common = CommonNeighbours.of(pre_lists, post_lists)
    halvings = Halvings.of(common.pre, ks, seed=seed)
    return scores_of_overlap(common, ks, halvings.jackknife_correction(common, halvings.gaps(common)))


@pytest.mark.parametrize(
    ("draw", "chance"),
    [(related, False), (lambda rng: unrelated(rng, 3), True), (lambda rng: unrelated(rng, 48), True)],
    ids=["related", "independent", "independent and wide"],
)
def test_covers_the_expected_overlap_of_other_galleries(
    draw: Sides, chance: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap_interval, "MIN_HALVINGS", 30)
    monkeypatch.setattr(overlap_interval, "MAX_HALVINGS", 30)
    rng = np.random.default_rng(5)
    columns = depth(max(KS), N)
    found = [
        overlap_scores(*(searched(side, columns) for side in draw(rng)), KS, seed=simulation)
        for simulation in range(SIMULATIONS)
    ]
    for k in KS:
        scores = [score[k] for score in found]
        truth = knn.chance(k, N) if chance else np.mean([score.value for score in scores])
        assert 0.93 <= np.mean([score.low <= truth <= score.high for score in scores]) <= 0.97, k


def test_an_interval_over_queries_is_too_narrow() -> None:
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(100):
        overlaps = knn.overlap(*(searched(side, 20) for side in unrelated(rng, 48)), 20)
        score = jackknife.mean(overlaps)
        covered.append(score.low <= knn.chance(20, N) <= score.high)
    assert np.mean(covered) < 0.7


@pytest.mark.parametrize("k", [1, 3, 9])
def test_leaving_out_equals_searching_again_without_each_image(k: int) -> None:
    pre, post = related(np.random.default_rng(0), n=30)
    by_hand = []
    for left_out in range(30):
        kept = np.arange(30) != left_out
        by_hand.append(knn.overlap(*(searched(side[kept], k) for side in (pre, post)), k).mean())
    lists = [searched(side, k + 1) for side in (pre, post)]
    assert overlap_without_each(CommonNeighbours.of(*lists), k) == pytest.approx(np.array(by_hand))


def test_the_gap_of_two_halves_equals_searching_each_half(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = related(np.random.default_rng(0), n=81)
    half = np.random.default_rng(1).permutation(81) < 40
    by_hand = [
        [knn.overlap(*(searched(side[chosen], k) for side in sides), k).mean() for chosen in (half, ~half)]
        for k in (1, 4, 15)
    ]
    lists = [searched(side, 80) for side in sides]
    monkeypatch.setattr(overlap_interval, "random_halves", lambda *_: [half])
    (gap,) = Halvings.of(lists[0], (1, 4, 15)).gaps(CommonNeighbours.of(*lists))
    assert gap == pytest.approx(np.array([first - second for first, second in by_hand]))


@pytest.mark.parametrize(("k", "n"), [(1, 400), (100, 1000), (100, 10_000)])
def test_half_of_the_listed_neighbours_are_enough(k: int, n: int) -> None:
    columns = depth(k, n)
    halved = np.random.default_rng(0).binomial(columns, 0.5, size=200_000)
    assert halved.min() >= k + 1
    assert depth(k, 50) <= 49


def test_no_spread_is_no_proof() -> None:
    """All of 60 images keep their neighbours: true shares down to .93 are no surprise then (Wilson's interval)."""
    lists = searched(related(np.random.default_rng(0), n=60)[0], 59)
    score = overlap_scores(lists, lists, (10,))[10]
    assert (score.value, score.high) == (1, 1)
    assert score.low == pytest.approx(60 / (60 + stats.t.ppf(0.975, 1 / (1 / 59 + 1 / 60)) ** 2), abs=1e-4)


def test_eight_images_have_a_value_and_a_sentence() -> None:
    row = np.arange(8)[:, None]
    before, after = (row + np.array([steps]) for steps in ([1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1]))
    before, after = before % 8, after % 8
    score = overlap_scores(before, after, (1,))[1]
    assert score.value == 0
    assert (np.isnan(score.high), score.method) == (True, "no interval: 8 images, 60 are needed")


def test_a_k_that_no_half_holds_is_said_to_be_uncorrected() -> None:
    lists = [searched(side, 59) for side in related(np.random.default_rng(0), n=60)]
    scores = overlap_scores(*lists, (5, 40, 59))
    assert "corrected in half galleries" in scores[5].method
    assert "too wide" in scores[40].method
    assert scores[59].low == scores[59].value == 1


def test_lists_that_are_too_short_are_refused() -> None:
    lists = searched(related(np.random.default_rng(0), n=30)[0], 5)
    with pytest.raises(ValueError, match="needs 6 neighbours of every image, got 5"):
        overlap_without_each(CommonNeighbours.of(lists, lists), 5)
    with pytest.raises(ValueError, match="need 29 neighbours of every image, got 5"):
        overlap_scores(lists, lists, (3,))
