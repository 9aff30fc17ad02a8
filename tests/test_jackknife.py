"""Leaving images out: against scipy and samples written out, at its limits, and its coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from connector_bench.stats import jackknife
from connector_bench.stats.floors import apart_from_the_most_frequent, floored
from connector_bench.stats.intervals import Score

SIMULATIONS = 500


def test_of_a_mean_it_is_the_standard_error_of_scipy() -> None:
    values = np.random.default_rng(0).normal(size=40)
    without = jackknife.ratio_without_each(values, np.ones(40))
    assert without[3] == pytest.approx(np.delete(values, 3).mean())
    found = jackknife.estimate(float(values.mean()), without, "ranks")
    assert found.error == pytest.approx(stats.sem(values), rel=1e-12)
    pulls = values - values.mean()
    kurtosis = stats.kurtosis(pulls, fisher=False)
    assert found.freedom == pytest.approx(min(39, 2 * 40 / (kurtosis - 1)))
    assert jackknife.estimate(0.0, without, "sums").freedom == pytest.approx(40 / kurtosis)
    ends = stats.t.interval(0.9, found.freedom, values.mean(), stats.sem(values))
    assert jackknife.interval(found, confidence=0.9) == pytest.approx(ends)
    p = jackknife.p_value(found, 0.1)
    assert p == pytest.approx(2 * stats.t.sf(abs(values.mean() - 0.1) / stats.sem(values), found.freedom))


def test_of_a_ratio_it_agrees_with_samples_written_out_and_with_linearisation() -> None:
    rng = np.random.default_rng(1)
    sst = rng.gamma(4, size=300)
    sse = sst * rng.beta(2, 5, 300)
    score = jackknife.score(
        float(sse.sum() / sst.sum()), jackknife.ratio_without_each(sse, sst), kind="sums", chance=1.0
    )
    left_out = [np.delete(sse, i).sum() / np.delete(sst, i).sum() for i in range(300)]
    error = np.sqrt(299 * np.var(left_out))
    pulls = (sse - score.value * sst) / sst.mean()
    assert error == pytest.approx(stats.sem(pulls), rel=0.01)
    quantile = stats.t.ppf(0.975, 300 / stats.kurtosis(left_out, fisher=False))
    assert (score.low, score.high) == pytest.approx(
        (score.value - quantile * error, score.value + quantile * error)
    )
    assert (score.n, score.chance, score.method) == (300, 1.0, "95 % jackknife t interval over images")


def test_the_test_and_the_interval_say_the_same() -> None:
    rng = np.random.default_rng(2)
    for scale in ("plain", "area"):
        for _ in range(50):
            without = 0.6 + 0.03 * rng.normal(size=30) / 29
            found = jackknife.estimate(0.6 + 0.05 * rng.normal(), without, "ranks")
            low, high = jackknife.interval(found, scale=scale)
            p = jackknife.p_value(found, 0.6, scale=scale)
            assert p is not None
            assert (p < 0.05) == (not low <= 0.6 <= high)


def test_an_area_stays_within_its_range() -> None:
    low, high = jackknife.interval(jackknife.Estimate(0.97, 0.03, 12.0), scale="area")
    assert 0.8 < low < 0.97 < high <= 1
    assert 0.97 - low > high - 0.97


def test_limits() -> None:
    same = jackknife.estimate(0.5, np.full(10, 0.5), "sums")
    assert (same.error, jackknife.p_value(same, 0.5), jackknife.p_value(same, 0.4)) == (0, 1, 0)
    assert jackknife.interval(same) == (0.5, 0.5)
    lost = jackknife.estimate(0.5, np.array([0.5, math.nan, 0.4]), "sums")
    assert jackknife.p_value(lost, 0.0) is None
    assert all(map(math.isnan, jackknife.interval(lost)))
    one = jackknife.estimate(0.1, np.r_[np.full(59, 0.1), 0.0], "sums")
    assert one.freedom == pytest.approx(60 / stats.kurtosis(np.r_[np.full(59, 0.1), 0.0], fisher=False))
    assert one.freedom < 1.1, "one image that carries all of it is one image"


def heavy(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The squared totals of images are very unlike, and those of much variance lose another share."""
    sst = rng.lognormal(0, 1.5, (SIMULATIONS, n))
    lost = special.expit(-1 - 0.5 * np.log(sst) + 0.7 * rng.normal(size=(SIMULATIONS, n)))
    return sst * lost, sst


def ordinary(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    sst = rng.lognormal(0, 0.4, (SIMULATIONS, n))
    return sst * special.expit(-1 + 0.7 * rng.normal(size=(SIMULATIONS, n))), sst


@pytest.mark.parametrize(("draw", "n"), [(heavy, 60), (ordinary, 20), (ordinary, 60), (ordinary, 300)])
def test_the_share_lost_is_covered(draw, n: int) -> None:
    rng = np.random.default_rng(4)
    wide = [draw(rng, 2000) for _ in range(4)]
    truth = sum(sse.sum() for sse, _ in wide) / sum(sst.sum() for _, sst in wide)
    covered, normal = [], []
    for sse, sst in zip(*draw(rng, n), strict=True):
        value, without = sse.sum() / sst.sum(), jackknife.ratio_without_each(sse, sst)
        score = jackknife.score(value, without, kind="sums")
        covered.append(score.low <= truth <= score.high)
        normal.append(abs(value - truth) <= 1.96 * np.sqrt((n - 1) * np.var(without)))
    assert 0.93 <= np.mean(covered) <= 0.97
    if draw is heavy:
        assert np.mean(normal) < 0.9, "n - 1 degrees of freedom are far too many"


def test_below_the_floor_there_is_a_sentence() -> None:
    score = Score(0.5, 0.4, 0.6, 19, None, "t")
    assert floored(score, 19) is score
    few = floored(score, 20)
    assert math.isnan(few.low)
    assert math.isnan(few.high)
    assert (few.value, few.method) == (0.5, "no interval: 19 images, 20 are needed")


def test_what_orders_a_column_of_ties() -> None:
    values, images = np.array([1, 1, 1, 0, 0, 2]), np.array(list("abccda"))
    assert apart_from_the_most_frequent(values, images) == 3
    assert apart_from_the_most_frequent(np.ones(6), images) == 0
