"""Retrieval by label: scikit-learn and loops as oracles, chance in closed form, the paired difference."""

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from connector_bench.preservation import controls
from connector_bench.preservation.design_effect import Effect, mean_score
from connector_bench.preservation.neighbours.ranking import average_precision
from connector_bench.preservation.retrieval import overlap_recall, retrieval


def classes(n: int, seed: int = 0, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 8
    return (rng.normal(size=(8, 12))[labels] + spread * rng.normal(size=(n, 12))).astype(np.float32), labels


def test_agrees_with_scikit_learn_and_loops() -> None:
    pre, labels = classes(120)
    found = retrieval(pre, pre[:, :2], labels, ks=(1, 5))
    for vectors, values in ((pre, found.pre), (pre[:, :2], found.post)):
        away = np.square(vectors[:, None].astype(float) - vectors[None].astype(float)).sum(axis=2)
        for i in range(120):
            others = np.delete(np.arange(120), i)
            same = labels[others] == labels[i]
            assert values["map"][i] == pytest.approx(
                average_precision_score(same, -away[i, others]), abs=1e-12
            )
            order = np.argsort(away[i, others], kind="stable")
            for k in (1, 5):
                assert values[f"recall_{k}"][i] == same[order[:k]].any()


def test_scores_carry_intervals_chance_and_a_paired_difference() -> None:
    pre, labels = classes(240)
    found = retrieval(pre, pre[:, :3], labels)
    assert set(found.scores) == {
        *(f"recall_{side}_{k}" for side in ("pre", "post", "diff") for k in (1, 5)),
        *(f"{name}_{side}" for name in ("map", "purity") for side in ("pre", "post", "diff")),
    }
    difference = found.scores["map_diff"]
    assert difference.high < 0
    assert difference.value == pytest.approx(found.scores["map_post"].value - found.scores["map_pre"].value)
    assert found.scores["recall_pre_5"].low > found.scores["recall_pre_5"].chance > 0


def test_the_same_vectors_lose_nothing() -> None:
    pre, labels = classes(120)
    found = retrieval(pre, controls.identity(pre), labels)
    assert all(found.scores[key].value == 0 for key in ("recall_diff_1", "map_diff"))
    assert found.scores["map_diff"].low == found.scores["map_diff"].high == 0
    assert (
        found.scores["recall_diff_1"].low == -found.scores["recall_diff_1"].high < 0
    )  # 0 of 120 is no proof


def test_differences_that_few_images_have_are_covered() -> None:
    """Recall near 1 on both sides: most sets of 200 show no difference, and there is one of .004."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(500):
        won, lost = rng.random((2, 200)) < np.array([[0.004], [0.008]])
        score = mean_score(won.astype(float) - lost, Effect(1.0, np.zeros(2)), kind="difference of hits")
        covered.append(score.low <= -0.004 <= score.high)
    assert np.mean(covered) >= 0.93


def test_chance_is_that_of_a_random_order() -> None:
    relevant = np.array([True, True, False, False, False])
    orders = np.array(list(itertools.permutations(relevant)))
    labels = np.array([0, 0, 0, 1, 1, 1])
    vectors = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    scores = retrieval(vectors, vectors, labels, ks=(1, 3)).scores
    assert scores["map_pre"].chance == pytest.approx(average_precision(orders).mean(), abs=1e-12)
    assert scores["recall_pre_1"].chance == pytest.approx(2 / 5)
    assert scores["recall_pre_3"].chance == pytest.approx(1 - math.comb(3, 3) / math.comb(5, 3))


def test_noise_retrieves_at_chance() -> None:
    vectors = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    found = retrieval(vectors, controls.shuffled(vectors), np.arange(400) % 10)
    for key in ("recall_pre_5", "recall_post_5"):
        assert found.scores[key].low <= found.scores[key].chance <= found.scores[key].high


def test_the_query_is_left_out_by_index() -> None:
    """Dropping the first hit instead drops a twin, and the query then retrieves itself."""
    vectors = np.repeat(np.random.default_rng(0).normal(size=(10, 4)), 2, axis=0).astype(np.float32)
    labels = np.arange(20)
    labels[[0, 19]] = 0  # the only pair of a class, far apart; every image has a twin of another class
    found = retrieval(vectors, vectors, labels, ks=(1,))
    np.testing.assert_array_equal(np.flatnonzero(found.queries), [0, 19])
    assert found.scores["recall_pre_1"].value == 0
    assert found.scores["recall_pre_1"].n == 2
    assert np.isnan(found.pre["map"][1:19]).all()


def test_images_that_lose_neighbours_lose_retrieval() -> None:
    rng = np.random.default_rng(0)
    overlap = rng.random(200)
    recall = (rng.random(200) < overlap).astype(float)
    recall[:20] = np.nan
    score = overlap_recall(overlap, recall)
    assert score.low > 0.3
    assert score.n == 180


def test_bad_labels_are_refused() -> None:
    vectors = np.eye(6, dtype=np.float32)
    with pytest.raises((ValueError, TypeError)):
        retrieval(vectors, vectors, np.arange(5))
    with pytest.raises(ValueError, match="share their class with another, got 0"):
        retrieval(vectors, vectors, np.arange(6))
