"""Shuffled pairs over many orders: an exact null, the rate of false alarms it gives, and what it catches."""

from itertools import permutations

import numpy as np
import pytest

from connector_bench.preservation import random_orders as room
from connector_bench.preservation.neighbours.search import neighbours
from connector_bench.preservation.overlap import CommonNeighbours
from connector_bench.preservation.random_orders import ORDERS, OverlapNull, random_orders, shuffled_overlaps
from connector_bench.stats.oracles import RATE

SHA = "ab" * 32


def drawn(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def lists(n: int, d: int, k: int, seed: int = 0) -> np.ndarray:
    return neighbours(drawn(n, d, seed), k, "l2").astype(np.intp)


def relabelled(found: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The lists of vectors in another order, without a search: image `i` has what was image `order[i]`'s."""
    place = np.argsort(order)
    return place[found[order]]


def mean_overlap(pre: np.ndarray, post: np.ndarray) -> float:
    linked = np.zeros((len(pre), len(pre)), dtype=bool)
    np.put_along_axis(linked, pre, True, axis=1)
    return float(np.take_along_axis(linked, post, 1).mean())


@pytest.mark.parametrize(("n", "k"), [(3, 1), (4, 2), (6, 2), (7, 3), (7, 5)])
def test_mean_and_variance_are_those_of_every_order_written_out(n: int, k: int) -> None:
    pre, post = lists(n, 2, k), lists(n, 3, k, seed=1)
    values = [mean_overlap(pre, relabelled(post, np.array(order))) for order in permutations(range(n))]
    null = OverlapNull.of(pre, post)
    assert null.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert null.variance == pytest.approx(np.var(values), abs=1e-12)


@pytest.mark.parametrize("d", [3, 48])
@pytest.mark.parametrize("k", [1, 10, 50])
def test_figures_of_random_orders_are_surprising_as_often_as_they_should(d: int, k: int) -> None:
    """In 48 dimensions a few images are neighbours of many, which lists drawn at random would not be."""
    n, boards = 200, 400
    pre, post = lists(n, d, k), lists(n, d + 1, k, seed=1)
    null, rng = OverlapNull.of(pre, post), np.random.default_rng(2)
    p, covered = [], []
    for _ in range(boards):
        values = [mean_overlap(pre, relabelled(post, rng.permutation(n))) for _ in range(ORDERS)]
        score, surprise = null.score(float(np.mean(values)))
        p.append(surprise)
        covered.append(score.low <= null.mean <= score.high)
    assert 0.005 <= np.mean(np.array(p) < 0.05) <= 0.085
    assert np.mean(np.array(p) < 0.005) <= 0.02
    assert min(p) > RATE
    assert np.mean(covered) >= 0.92


def of_all(
    pre: np.ndarray, post: np.ndarray, ks: tuple[int, ...] = (1, 10, 50), images_sha256: str = SHA
) -> dict[str, dict[str, float]]:
    common = CommonNeighbours.of(*(neighbours(side, max(ks), "l2") for side in (pre, post)))
    return shuffled_overlaps(common, post, ks, distance="l2", images_sha256=images_sha256, seed=0)[1]


def test_the_search_gives_relabelled_lists() -> None:
    """What makes the null that of the control: vectors in another order have the same neighbours under other names."""
    post, order = drawn(150, 8), np.random.default_rng(5).permutation(150)
    np.testing.assert_array_equal(
        neighbours(post[order], 20, "l2"), relabelled(neighbours(post, 20, "l2"), order)
    )


@pytest.mark.parametrize("keeps", ["all", "nothing", "a collapse to one direction"])
def test_shuffled_pairs_are_at_chance_whatever_the_connector(keeps: str) -> None:
    pre = drawn(300, 12)
    post = {"all": pre, "nothing": drawn(300, 12, seed=1)}.get(keeps, pre[:, :1])
    found = of_all(pre, post)
    for k in (1, 10, 50):
        score = found[f"knor_{k}"]
        assert score["p"] > RATE
        assert score["chance"] == pytest.approx(k / 299)
        assert score["low"] <= score["value"] <= score["high"]
        assert found[f"knor_adj_{k}"]["p"] == score["p"]


def test_a_search_that_goes_by_an_images_place_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: one image in fifty finds its neighbours in the place where it stands, not in what it got."""
    pre = drawn(300, 12)
    true = neighbours(pre, 50, "l2")

    def leaking(vectors: np.ndarray, *arguments: object, **options: object) -> np.ndarray:
        found = neighbours(vectors, *arguments, **options)
        found[::50] = true[::50]
        return found

    assert of_all(pre, pre)["knor_10"]["p"] > 0.001
    monkeypatch.setattr(room, "neighbours", leaking)
    found = of_all(pre, pre)
    assert found["knor_1"]["p"] < RATE
    assert found["knor_10"]["p"] < RATE


def test_another_set_of_pictures_has_other_orders() -> None:
    first, again, other, seeded = (
        np.array(list(random_orders(50, sha, seed)))
        for sha, seed in ((SHA, 0), (SHA, 0), ("cd" * 32, 0), (SHA, 1))
    )
    assert len(first) == ORDERS >= 20
    assert len({tuple(order) for order in first}) == ORDERS
    np.testing.assert_array_equal(first, again)
    assert not (first == other).all(axis=1).any()
    assert not (first == seeded).all(axis=1).any()


def test_where_every_order_gives_the_same_nothing_is_surprising() -> None:
    pre = np.array([[1, 2], [0, 2], [0, 1]])
    null = OverlapNull.of(pre, pre)
    assert null.variance == 0
    score, p = null.score(1.0)
    assert (score.low, score.high, p) == (1.0, 1.0, 1.0)
