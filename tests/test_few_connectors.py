"""Intervals over few connectors: their coverage, and their limits."""

import numpy as np
import pytest
from scipy import stats

from connector_bench.stats.correlation import rank_correlation
from connector_bench.stats.few_connectors import difference_interval, rank_interval

SIMULATIONS = 1000


def true_rank_correlation(rho: float) -> float:
    """Of two normal columns."""
    return float(6 / np.pi * np.arcsin(rho / 2))


@pytest.mark.parametrize("n", [8, 10, 13, 20])
@pytest.mark.parametrize(
    ("first", "second", "between"),
    [(0, 0, 0), (0.8, 0.8, 0.8), (-0.8, -0.4, 0.7), (0.95, 0, 0), (0.8, 0.3, 0.3)],
)
def test_the_difference_of_two_correlations_is_covered(
    n: int, first: float, second: float, between: float
) -> None:
    rng = np.random.default_rng(n)
    spread = [[1, between, first], [between, 1, second], [first, second, 1]]
    truth = true_rank_correlation(first) - true_rank_correlation(second)
    columns = rng.multivariate_normal([0, 0, 0], spread, (SIMULATIONS, n)).transpose(2, 0, 1)
    own = np.stack([rank_correlation(column, columns[2]) for column in columns[:2]], axis=1)
    ends = np.array(
        [
            difference_interval(*pair, both, n, 0.95)
            for pair, both in zip(own, rank_correlation(columns[0], columns[1]), strict=True)
        ]
    )
    assert 0.92 <= np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])) <= 0.99
    assert (ends[:, 0] <= own[:, 0] - own[:, 1]).all()
    assert (own[:, 0] - own[:, 1] <= ends[:, 1]).all()


def test_one_correlation_is_that_of_fisher_but_for_its_variance() -> None:
    low, high = rank_interval(0.6, 12, 0.9)
    middle, reach = np.arctanh(0.6), stats.norm.ppf(0.95) * np.sqrt(1.18 / 9)
    assert (low, high) == pytest.approx((np.tanh(middle - reach), np.tanh(middle + reach)))


def test_what_goes_with_a_score_entirely_has_ends() -> None:
    low, high = rank_interval(1.0, 9, 0.95)
    assert 0.9 < low < high == 1
    low, high = difference_interval(1.0, 0.2, 0.2, 9, 0.95)
    assert 0 < low < 0.8 < high < 2


def test_turned_round_it_is_the_same_interval() -> None:
    low, high = difference_interval(0.7, -0.2, 0.1, 10, 0.95)
    assert difference_interval(-0.2, 0.7, 0.1, 10, 0.95) == pytest.approx((-high, -low))
    assert difference_interval(-0.7, 0.2, 0.1, 10, 0.95) == pytest.approx((-high, -low))
