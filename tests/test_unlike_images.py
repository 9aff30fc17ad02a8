"""The interval of a mean of errors of very unlike size."""

import numpy as np
import pytest
from scipy import stats

from connector_bench.reconstruction.figures import mask_scores
from connector_bench.stats import jackknife
from connector_bench.stats.unlike_images import mean_error, upper_spread

SIMULATIONS = 600


def lognormal(seed: int, n: int, sigma: float) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(0, sigma, n)


@pytest.mark.parametrize(("n", "sigma"), [(20, 0.6), (60, 0.6), (20, 1.0), (60, 1.0), (60, 2.0), (150, 1.5)])
def test_the_mean_is_covered_however_unlike_images_are(n: int, sigma: float) -> None:
    truth, covered, plainly = np.exp(sigma**2 / 2), 0, 0
    for seed in range(SIMULATIONS):
        errors = lognormal(seed, n, sigma)
        score, plain = mean_error(errors, np.ones(n)), jackknife.mean(errors)
        assert (score.value, score.n) == (plain.value, n)
        covered += score.low <= truth <= score.high
        plainly += plain.low <= truth <= plain.high
    assert 0.93 <= covered / SIMULATIONS <= 0.985  # standard error .009
    if sigma == 2:
        assert plainly / SIMULATIONS < 0.85


def test_it_is_the_wider_of_two_intervals_of_the_logarithm() -> None:
    errors, sizes = lognormal(0, 80, 1.4), np.random.default_rng(1).integers(4, 9, 80).astype(float)
    score = mean_error(errors * sizes, sizes, chance=1.0)
    value = np.average(errors, weights=sizes)
    above = np.log(errors[errors > np.median(errors)] / np.median(errors))
    spread = np.sqrt(np.mean(above**2))
    assert upper_spread(errors) == pytest.approx(spread)
    normal = stats.t.ppf(0.975, 40) * np.sqrt((np.exp(spread**2) - 1) / 80)
    without = [np.average(np.delete(errors, i), weights=np.delete(sizes, i)) for i in range(80)]
    freedom = max(3, 80 / stats.kurtosis(without, fisher=False))
    own = stats.t.ppf(0.975, freedom) * np.sqrt(79 * np.var(without)) / value
    reach = max(normal, own)
    assert (score.low, score.high) == pytest.approx((value * np.exp(-reach), value * np.exp(reach)))
    assert score.method == (
        "95 % jackknife t interval over images (logarithm), no narrower than of log-normal ones"
    )
    assert (score.value, score.chance) == (pytest.approx(value), 1.0)


def test_very_many_ordinary_images_keep_their_interval_to_the_bit() -> None:
    errors = lognormal(0, 1000, 0.6)
    assert mean_error(errors, np.ones(1000), chance=1.0) == jackknife.mean(errors, chance=1.0)
    unlike = lognormal(0, 1000, 2.0)
    assert mean_error(unlike, np.ones(1000)).high > jackknife.mean(unlike).high


def test_no_end_is_further_than_a_hundred_times_the_value() -> None:
    errors = lognormal(0, 20, 4.0)
    score = mean_error(errors, np.ones(20))
    assert (score.low, score.high) == pytest.approx((score.value / 100, score.value * 100))


def test_what_has_no_error_or_too_few_images_is_left_as_it_is() -> None:
    nothing = mean_error(np.zeros(40), np.ones(40))
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    half = np.concatenate([np.zeros(30), np.ones(10)])
    assert 0 < mean_error(half, np.ones(40)).low < 0.25
    few = mean_error(np.ones(19), np.ones(19))
    assert few.method == "no interval: 19 images, 20 are needed"
    assert np.isnan(few.low)


def test_errors_inside_the_answer_have_that_interval_over_images() -> None:
    """Two questions about each of 60 images, whose errors are of very unlike size."""
    truth, covered = np.exp(2.0), 0
    for seed in range(SIMULATIONS):
        errors = np.repeat(lognormal(seed, 60, 2.0), 2)
        documents = {number: {"loss_inside": error} for number, error in enumerate(errors)}
        found = mask_scores(documents, {number: str(number // 2) for number in documents})["loss_inside"]
        assert found.n == 60
        covered += found.low <= truth <= found.high
    assert covered / SIMULATIONS >= 0.93
