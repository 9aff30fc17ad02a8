"""Paired differences: against scipy and closed forms, at their limits, and calibrated where there is no difference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from connector_bench.stats.paired import (
    Sums,
    difference,
    difference_interval,
    false_discovery_rate,
    halved_difference,
)
from tests.oracles import paired_difference


def mean_of(values: np.ndarray) -> Sums:
    return Sums(values, np.ones(len(values)))


def test_against_scipys_bootstrap_and_permutation_test() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=120)
    second = first + 0.05 + 0.3 * rng.normal(size=120)
    ours = difference(mean_of(first), mean_of(second))
    theirs = paired_difference(second, first)
    assert ours.value == pytest.approx(theirs.value)
    assert (ours.low, ours.high) == pytest.approx(
        (theirs.low, theirs.high), abs=0.1 * (theirs.high - theirs.low)
    )
    test = stats.permutation_test(
        (second, first),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=1,
    )
    assert ours.p == pytest.approx(test.pvalue, abs=0.02)


def test_a_ratio_of_sums_is_no_mean_of_ratios() -> None:
    sse, sst = np.array([1.0, 90.0]), np.array([10.0, 100.0])
    assert Sums(sse, sst).value == pytest.approx(91 / 110)


def test_the_same_model_twice_does_not_differ() -> None:
    values = np.random.default_rng(0).normal(size=50)
    found = difference(mean_of(values), mean_of(values.copy()))
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_exchanging_the_models_turns_the_sign_and_keeps_p() -> None:
    rng = np.random.default_rng(0)
    one, other = (Sums(rng.gamma(2, size=40), rng.gamma(3, size=40)) for _ in range(2))
    forth, back = difference(one, other), difference(other, one)
    assert (back.value, back.low, back.high) == pytest.approx((-forth.value, -forth.high, -forth.low))
    assert back.p == forth.p


def test_intervals_and_p_values_keep_their_promise() -> None:
    rng = np.random.default_rng(0)
    covered, rejected, trials = 0, 0, 200
    for _ in range(trials):
        hardness = rng.gamma(2, size=60)
        one, other = (Sums(hardness * rng.gamma(4, 0.25, size=60), np.ones(60)) for _ in range(2))
        low, high = difference_interval(one, other)
        covered += low <= 0 <= high
    for _ in range(60):
        hardness = rng.gamma(2, size=30)
        one, other = (Sums(hardness * rng.gamma(4, 0.25, size=30), np.ones(30)) for _ in range(2))
        rejected += difference(one, other).p <= 0.05
    assert 0.92 <= covered / trials <= 0.98
    assert stats.binom.sf(rejected - 1, 60, 0.05) > 0.005


def test_few_images_have_a_difference_and_a_sentence() -> None:
    found = difference(mean_of(np.arange(19.0)), mean_of(np.arange(19.0) ** 2))
    assert found.value > 0
    assert np.isnan([found.low, found.high, found.p]).all()
    assert found.interval_method == found.test_method == "no interval: 19 images, 20 are needed"
    gaps = np.zeros(40), np.ones(40)
    few = halved_difference(0.2, 0.3, *gaps, images=149, k=10)
    assert np.isnan([few.low, few.high, few.p]).all()
    assert few.interval_method == "no interval: 149 images, 150 are needed"
    assert np.isfinite(halved_difference(0.2, 0.3, *gaps, images=150, k=10).p)


def test_a_single_image_or_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        difference(mean_of(np.ones(1)), mean_of(np.ones(1)))
    with pytest.raises(ValueError, match="same images"):
        difference(mean_of(np.ones(3)), mean_of(np.ones(4)))
    with pytest.raises(ValueError, match="denominator"):
        difference(Sums(np.ones(3), np.zeros(3)), mean_of(np.ones(3)))


def test_benjamini_and_hochberg_by_hand() -> None:
    assert false_discovery_rate([0.01, 0.04, float("nan"), 0.03]) == pytest.approx(
        [0.03, 0.04, float("nan"), 0.04], nan_ok=True
    )
    assert false_discovery_rate([]) == []


def test_halvings_know_the_spread_of_a_paired_difference() -> None:
    """The interval over halvings against the spread of the difference over new galleries."""
    rng = np.random.default_rng(0)
    maps = [np.eye(20), rng.normal(size=(20, 6)), rng.normal(size=(20, 6))]
    claimed, differences = [], []
    for _ in range(50):
        pictures = rng.normal(size=(160, 20))
        sides = [pictures @ change for change in maps]
        gaps = halving_gaps(sides)
        found = halved_difference(*kept(sides), gaps[:, 0], gaps[:, 1], images=160, k=10)
        differences.append(found.value)
        claimed.append((found.high - found.low) / 2 / stats.t.ppf(0.975, len(gaps)))
    assert np.sqrt(np.mean(np.square(claimed))) == pytest.approx(np.std(differences, ddof=1), rel=0.3)


def kept(sides: list[np.ndarray]) -> list[float]:
    """Mean overlap at 10 of each side with the first."""
    distances = [cdist(side, side) for side in sides]
    for distance in distances:
        np.fill_diagonal(distance, np.inf)
    first, *others = (np.argpartition(distance, 10, axis=1)[:, :10] for distance in distances)
    return [
        float(np.mean([len({*a} & {*b}) / 10 for a, b in zip(first, other, strict=True)])) for other in others
    ]


def halving_gaps(sides: list[np.ndarray], halvings: int = 12) -> np.ndarray:
    """Overlaps in one half less those in the other, each half searched on its own."""
    rng = np.random.default_rng(1)
    gaps = []
    for _ in range(halvings):
        half = np.zeros(len(sides[0]), dtype=bool)
        half[rng.choice(len(half), len(half) // 2, replace=False)] = True
        gaps.append(np.subtract(kept([side[half] for side in sides]), kept([side[~half] for side in sides])))
    return np.array(gaps)


@pytest.mark.parametrize(("apart", "images"), [(0.03, 60), (0.02, 100), (0.002, 1000)])
def test_two_that_hardly_differ_are_not_taken_for_the_same(apart: float, images: int) -> None:
    """Answers right or wrong: a jackknife of a sample in which none differs has no width, and covers .84 to .87."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        first = (rng.random(images) < 0.7).astype(float)
        second = np.where(rng.random(images) < apart, 1.0, first)
        ones = np.ones(images)
        low, high = difference_interval(Sums(first, ones), Sums(second, ones))
        covered += low <= 0.3 * apart <= high
        assert low < high
    assert covered / 300 >= 0.93


def test_answers_that_differ_often_have_the_jackknifes_interval() -> None:
    rng = np.random.default_rng(0)
    first, second = ((rng.random(200) < share).astype(float) for share in (0.5, 0.7))
    found = difference(Sums(first, np.ones(200)), Sums(second, np.ones(200)))
    error = np.std(second - first, ddof=1) / np.sqrt(200)
    assert found.interval_method.startswith("95 % jackknife t interval")
    assert found.high - found.low == pytest.approx(2 * 1.972 * error, rel=0.01)


@pytest.mark.parametrize("questions", [1, 3])
@pytest.mark.parametrize("flipped", [1, 5, 90])
def test_what_is_lost_from_the_same_answers_before_is_told_as_what_is_left(
    flipped: int, questions: int
) -> None:
    """Of one answer in 42 that differs, the loss had ±.271 where what is read behind the connector had ±.106."""
    rng = np.random.default_rng(0)
    images, sizes = 120, np.full(120, float(questions))
    before, behind = rng.integers(0, 2, (2, images, questions)).astype(float)
    other = behind.copy()
    other[:flipped, 0] = 1 - other[:flipped, 0]
    kept = [Sums(side.sum(1), sizes) for side in (behind, other)]
    lost = [Sums((before - side).sum(1), sizes) for side in (behind, other)]
    low, high = difference_interval(*kept)
    assert difference_interval(*lost) == pytest.approx((-high, -low), abs=1e-12)
    assert ("Newcombe" in difference(*lost).interval_method) == (flipped < 20)


def test_losses_of_other_answers_before_are_no_paired_answers() -> None:
    """One question that the first gains and the second loses differs by 2."""
    first, second = np.zeros(40), np.zeros(40)
    first[:3], second[:3] = -1, 1
    assert "jackknife" in difference(mean_of(first), mean_of(second)).interval_method
