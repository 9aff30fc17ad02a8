"""The exact p-value of Spearman's correlation against every order written out."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from connector_bench.stats.exact_spearman import exact_p


def by_enumeration(x: np.ndarray, y: np.ndarray) -> float:
    """Twice the smaller tail of scipy's own statistic over all orders of one side."""
    observed = stats.spearmanr(x, y).statistic
    ranks = stats.rankdata(y)
    orders = stats.rankdata(x)[np.array(list(permutations(range(len(x)))))]
    found = (
        np.corrcoef(np.vstack([ranks, orders]))[0, 1:] if len(orders) < 800 else _correlations(orders, ranks)
    )
    return min(1.0, 2 * min(np.mean(found <= observed + 1e-9), np.mean(found >= observed - 1e-9)))


def _correlations(orders: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    centred = orders - orders.mean(axis=1, keepdims=True)
    other = ranks - ranks.mean()
    return centred @ other / np.sqrt((centred**2).sum(axis=1) * (other**2).sum())


@pytest.mark.parametrize("n", [3, 5, 8])
@pytest.mark.parametrize("ties", [False, True])
def test_agrees_with_every_order_written_out(n: int, ties: bool) -> None:
    rng = np.random.default_rng(n)
    for _ in range(3):
        x = rng.integers(0, 3, n) + np.arange(n) // (n - 1) if ties else rng.normal(size=n)
        y = rng.normal(size=n)
        assert exact_p(x, y) == pytest.approx(by_enumeration(x, y), abs=1e-12)


def test_agrees_with_scipy_at_ten() -> None:
    """scipy's own exact test of 3,628,800 orders would take minutes; its random one comes near."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=10)
    y = x + 0.6 * rng.normal(size=10)
    drawn = stats.permutation_test(
        (stats.rankdata(x),),
        lambda a, axis=-1: a @ stats.rankdata(y),
        permutation_type="pairings",
        n_resamples=200_000,
        vectorized=True,
        rng=rng,
    )
    error = 2 * (drawn.pvalue / 2 / 200_000) ** 0.5
    assert exact_p(x, y) == pytest.approx(drawn.pvalue, abs=4 * error)
    assert exact_p(np.arange(10.0), np.arange(10.0)) == pytest.approx(2 / 3_628_800)


@pytest.mark.parametrize("ties", [False, True])
def test_agrees_with_all_orders_of_scipy(ties: bool) -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(2, 7)) if not ties else rng.integers(0, 3, (2, 7)).astype(float)
    ranks = stats.rankdata(y) - 4
    theirs = stats.permutation_test(
        (stats.rankdata(x),),
        lambda drawn, axis=-1: drawn @ ranks,
        permutation_type="pairings",
        n_resamples=10_000,
        vectorized=True,
    )
    assert exact_p(x, y) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_the_other_way_round_is_as_surprising() -> None:
    x, y = np.arange(10.0), np.array([1.0, 0, 3, 2, 5, 4, 7, 6, 9, 8])
    assert 0 < exact_p(x, y) == exact_p(x, -y) < 1e-3


def test_rejects_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for n in (8, 9, 10):
        p = [exact_p(*rng.normal(size=(2, n))) for _ in range(300)]
        assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=2.6 * np.sqrt(0.05 * 0.95 / 300))


def test_more_values_than_can_be_counted_are_refused() -> None:
    with pytest.raises(ValueError, match="up to 12, got 13 and 13"):
        exact_p(np.arange(13.0), np.arange(13.0))
