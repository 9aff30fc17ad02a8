"""The jackknife equals leaving each image out by hand, and covers the truth where resampling queries does not."""

import numpy as np
import pytest

from connector_bench.preservation import knn
from connector_bench.preservation.overlap_interval import jackknife_overlap, overlap_without_each


def sides(n: int, rng: np.random.Generator, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    pre = rng.normal(size=(n, 6))
    post = np.hstack([pre, pre**2]) + noise * rng.normal(size=(n, 12))
    return pre.astype(np.float32), post.astype(np.float32)


@pytest.mark.parametrize("k", [1, 3, 9])
def test_equals_searching_again_without_each_image(k: int) -> None:
    pre, post = sides(30, np.random.default_rng(0))
    by_hand = []
    for left_out in range(30):
        kept = np.arange(30) != left_out
        lists = [knn.neighbours(side[kept], k) for side in (pre, post)]
        by_hand.append(knn.overlap(*lists, k).mean())
    lists = [knn.neighbours(side, k + 1) for side in (pre, post)]
    assert overlap_without_each(*lists, k) == pytest.approx(np.array(by_hand))


def test_no_spread_is_no_proof() -> None:
    """All of 50 images keep their neighbours: true shares down to .93 are no surprise then (Wilson's interval)."""
    pre, _ = sides(50, np.random.default_rng(0))
    lists = knn.neighbours(pre, 11)
    score = jackknife_overlap(lists, lists, 10)
    assert (score.value, score.high) == (1, 1)
    assert score.low == pytest.approx(50 / (50 + 1.959964**2))


def test_no_common_neighbour_still_covers_chance() -> None:
    before = np.array([[1, 2], [2, 3], [3, 4], [4, 5], [5, 0], [0, 1]])
    after = np.array([[3, 4], [4, 5], [5, 0], [0, 1], [1, 2], [2, 3]])
    score = jackknife_overlap(before, after, 1)
    assert score.value == score.low == 0
    assert score.high > knn.chance(1, 6)


@pytest.mark.parametrize(("k", "related"), [(5, False), (30, False), (5, True), (30, True)])
def test_covers_the_expected_overlap_of_a_new_sample(k: int, related: bool) -> None:
    rng = np.random.default_rng(k)
    scores = []
    for _ in range(100):
        pre, post = sides(150, rng)
        lists = [knn.neighbours(side, k + 1) for side in (pre, post if related else rng.permutation(post))]
        scores.append(jackknife_overlap(*lists, k))
    truth = np.mean([score.value for score in scores]) if related else knn.chance(k, 150)
    assert np.mean([score.low <= truth <= score.high for score in scores]) >= 0.93


def test_needs_the_next_neighbour() -> None:
    lists = np.zeros((5, 2), dtype=int)
    with pytest.raises(ValueError, match="needs 3 neighbours"):
        jackknife_overlap(lists, lists, 2)
