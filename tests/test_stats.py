"""Intervals and correlations: coverage in simulation, oracles (scipy, scikit-learn), bad input."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats as scipy_stats

from connector_bench.stats import correlation, intervals, jackknife
from connector_bench.stats.intervals import Score
from tests.oracles import paired_difference, tie_groups

SIMULATIONS = 2000


def coverage(measure: Callable[[np.random.Generator], Score], truth: float) -> float:
    rng = np.random.default_rng(3)  # standard error .005
    scores = [measure(rng) for _ in range(SIMULATIONS)]
    return float(np.mean([score.low <= truth <= score.high for score in scores]))


@pytest.mark.parametrize("kind", ["normal", "overlap", "accuracy"])
def test_intervals_of_a_mean_cover_the_truth(kind: str) -> None:
    draw = {
        "normal": (lambda rng: rng.normal(3, 2, 100), 3.0),
        "overlap": (lambda rng: rng.binomial(10, rng.beta(2, 3, 100)) / 10, 0.4),
        "accuracy": (lambda rng: rng.binomial(1, 0.3, 100).astype(float), 0.3),
    }[kind]
    assert 0.93 <= coverage(lambda rng: jackknife.mean(draw[0](rng)), draw[1]) <= 0.97


def clustered(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    sizes = rng.integers(1, 9, 80)
    clusters = np.repeat(np.arange(80), sizes)
    return rng.normal(size=80)[clusters] + 0.3 * rng.normal(size=len(clusters)), clusters


def test_clusters_are_left_out_whole() -> None:
    def measure(rng: np.random.Generator, whole: bool) -> Score:
        values, clusters = clustered(rng)
        return jackknife.mean(values, clusters=clusters if whole else None)

    assert 0.93 <= coverage(lambda rng: measure(rng, whole=True), 0.0) <= 0.97
    assert coverage(lambda rng: measure(rng, whole=False), 0.0) < 0.75


def test_paired_differences_cover_the_truth_and_use_the_pairs() -> None:
    def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        image = rng.normal(size=90)
        return image + 0.2 + 0.1 * rng.normal(size=90), image

    assert 0.93 <= coverage(lambda rng: paired_difference(*pair(rng)), 0.2) <= 0.97
    a, b = pair(np.random.default_rng(0))
    score = paired_difference(a, b)
    alone = jackknife.mean(a)
    assert score.high - score.low < (alone.high - alone.low) / 3
    assert score.chance == 0


def test_spearman_covers_the_truth() -> None:
    rho = 0.5

    def measure(rng: np.random.Generator) -> Score:
        x, y = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], 80).T
        return correlation.spearman(x, y)

    assert 0.93 <= coverage(measure, 6 / np.pi * np.arcsin(rho / 2)) <= 0.97


@pytest.mark.parametrize("share", [0.02, 0.3, 0.97])
def test_wilson_covers_a_share_of_images_that_hang_together(share: float) -> None:
    """400 groups of three images that are alike: exact, over every count of groups."""
    counts = np.arange(401)
    covered = []
    for value in counts / 400:
        low, high = intervals.wilson(value, value * (1 - value) / 399, 1200, 1.96)
        covered.append(low <= share <= high)
    assert 0.93 <= scipy_stats.binom.pmf(counts, 400, share) @ np.array(covered) <= 0.97


def test_wilson_of_all_or_nothing_is_that_of_as_many_trials() -> None:
    for value in (0.0, 1.0):
        expected = scipy_stats.binomtest(round(50 * value), 50).proportion_ci(0.95, method="wilson")
        assert intervals.wilson(value, 0.0, 50, 1.959964) == pytest.approx((expected.low, expected.high))


def test_point_values_agree_with_the_libraries() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 12, 150).astype(float)
    y = x + rng.normal(size=150).round()
    assert correlation.spearman(x, y).value == pytest.approx(scipy_stats.spearmanr(x, y).statistic, abs=1e-12)


def test_constant_values_have_a_mean_but_no_order() -> None:
    same = np.full(20, 0.7)
    score = jackknife.mean(same)
    assert score.low == pytest.approx(0.7)
    assert score.high == pytest.approx(0.7)
    with np.errstate(invalid="raise"):
        assert np.isnan(correlation.spearman(same, np.arange(20.0)).value)


def test_a_score_prints_all_it_needs() -> None:
    assert f"{Score(0.5, 0.25, 0.75, 40, 0.1, 'x'):.2f}" == "0.50 [0.25, 0.75] (n=40, chance 0.10)"
    assert f"{Score(0.5, 0.25, 0.75, 40, None, 'x')}" == "0.500 [0.250, 0.750] (n=40)"
    adjusted = Score(0.55, 0.1, 1.0, 40, 0.1, "x").adjusted()
    assert (adjusted.value, adjusted.low, adjusted.high, adjusted.chance) == (pytest.approx(0.5), 0, 1, 0)
    with pytest.raises(ValueError, match="None"):
        Score(0.5, 0.2, 0.7, 40, None, "x").adjusted()


def test_models_that_cannot_be_told_apart_share_a_rank() -> None:
    rng = np.random.default_rng(0)
    image = rng.random(200)
    models = [image, image + 0.3, image + 0.3 + 0.05 * rng.normal(size=200), image - 0.2]
    assert tie_groups(models) == [3, 1, 1, 4]
    assert tie_groups([-model for model in models], higher_is_better=False) == [3, 1, 1, 4]


def test_bad_values_are_named() -> None:
    with pytest.raises(ValueError, match="1 of 3 are not finite, the first is number 1"):
        jackknife.mean(np.array([1, np.nan, 2.0]))
    few = jackknife.mean(np.ones(5), clusters=np.zeros(5))
    assert (few.value, few.n, few.method) == (1, 1, "no interval: 1 clusters, 20 are needed")
    assert np.isnan(few.low)
    with pytest.raises((ValueError, TypeError)):
        jackknife.mean(np.ones((5, 2)))
    with pytest.raises((ValueError, TypeError)):
        jackknife.mean(np.ones(5), clusters=np.zeros(4))
    with pytest.raises((ValueError, TypeError)):
        paired_difference(np.ones(5), np.ones(4))
    with pytest.raises(ValueError, match="at least 3 images, got 2"):
        correlation.spearman(np.arange(2.0), np.arange(2.0))
