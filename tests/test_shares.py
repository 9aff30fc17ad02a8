"""Intervals of shares and of paired differences: coverage where nearly all are right, and Wilson's formula."""

import numpy as np
import pytest
from scipy import stats

from connector_bench.stats.shares import paired_difference, share

SIMULATIONS = 400
SEEN = 0.93 - 2 * (0.05 * 0.95 / SIMULATIONS) ** 0.5
"""The least coverage of 95 % intervals that so many simulations would tell from .93."""


@pytest.mark.parametrize(
    ("right", "images", "questions"),
    [(0.95, 25, 1), (0.97, 60, 1), (0.98, 100, 1), (0.998, 1000, 1), (0.8, 60, 3), (0.95, 60, 4)],
)
def test_a_share_near_all_or_nothing_is_covered(right: float, images: int, questions: int) -> None:
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(images), questions)
    covered = 0
    for _ in range(SIMULATIONS):
        of_image = rng.beta(8 * right, 8 * (1 - right), images) if questions > 1 else np.full(images, right)
        answers = (rng.random(len(ids)) < np.repeat(of_image, questions)).astype(float)
        found = share(answers, ids)
        covered += found.low <= right <= found.high
        assert found.low < found.high
    assert covered / SIMULATIONS >= SEEN


@pytest.mark.parametrize(
    ("first", "second", "images"),
    [(0.03, 0, 60), (0.02, 0, 100), (0.002, 0, 1000), (0.05, 0.05, 60), (0.3, 0.2, 60), (0.97, 0, 60)],
)
def test_a_difference_of_few_answers_is_covered(first: float, second: float, images: int) -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(SIMULATIONS):
        drawn = rng.random(images)
        found = paired_difference(
            np.where(drawn < first, 1.0, np.where(drawn < first + second, -1.0, 0.0)), np.arange(images)
        )
        covered += found.low <= first - second <= found.high
        assert found.low < found.high
    assert covered / SIMULATIONS >= SEEN


@pytest.mark.parametrize(("spread_over", "images"), [(1.0, 100), (0.2, 100), (1.0, 60)])
def test_four_questions_about_each_image_tell_more_than_one(spread_over: float, images: int) -> None:
    """Images' means over their questions, of which .02 and .01 are answered by one side alone."""
    rng = np.random.default_rng(0)
    covered, halves = 0, []
    for _ in range(SIMULATIONS):
        some = np.where(rng.random((images, 1)) < spread_over, 1 / spread_over, 0.0)
        drawn = rng.random((images, 4))
        answers = np.where(drawn < 0.02 * some, 1.0, np.where(drawn < 0.03 * some, -1.0, 0.0))
        found = paired_difference(np.repeat(answers.mean(axis=1), 4), np.repeat(np.arange(images), 4))
        covered += found.low <= 0.01 <= found.high
        halves.append((found.high - found.low) / 2)
    one = paired_difference(np.repeat([1.0, -1.0, 0.0], [2, 1, images - 3]), np.arange(images))
    assert covered / SIMULATIONS >= SEEN
    assert np.mean(halves) < 0.6 * (one.high - one.low) / 2


def test_a_share_of_one_question_an_image_has_wilsons_interval() -> None:
    answers = np.array([1.0] * 45 + [0.0] * 15)
    quantile = stats.t.ppf(0.975, 59)
    trials = 59  # the jackknife's variance divides by n - 1
    centre = (0.75 + quantile**2 / (2 * trials)) / (1 + quantile**2 / trials)
    half = (
        quantile * (0.75 * 0.25 / trials + quantile**2 / (4 * trials**2)) ** 0.5 / (1 + quantile**2 / trials)
    )
    found = share(answers, np.arange(60))
    assert (found.value, found.low, found.high) == pytest.approx((0.75, centre - half, centre + half))


def test_a_difference_that_only_one_side_makes_is_that_sides_share() -> None:
    alone = np.array([1.0] * 20 + [0.0] * 40)
    found, of_side = paired_difference(alone, np.arange(60)), share(alone, np.arange(60))
    assert found.high == pytest.approx(of_side.high, abs=1e-12)
    assert found.low <= of_side.low


def test_questions_about_one_image_count_as_far_as_they_vary() -> None:
    answers, images = np.repeat([1.0, 0.0], 30), np.arange(60)
    four = share(np.repeat(answers, 4), np.repeat(images, 4))
    one = share(answers, images)
    assert (four.low, four.high) == pytest.approx((one.low, one.high))
    assert four.n == 60


def test_of_few_images_there_is_none() -> None:
    for found in (share(np.ones(10), np.arange(10)), paired_difference(np.zeros(10), np.arange(10))):
        assert np.isnan(found.low)
        assert found.method == "no interval: 10 images, 20 are needed"
