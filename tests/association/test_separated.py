"""Losses that (nearly) part failures from successes: no interval without width, no p-value of 0, and coverage."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from scipy import stats

from connector_bench.association import values
from connector_bench.association.grounded import grounded_of
from connector_bench.association.pairs import pairs_of
from connector_bench.association.values import JoinedTable, Pair, Settings
from connector_bench.stats.cluster_jackknife import ranks_without_each, score_of
from connector_bench.stats.separated import area_interval, area_p, correlation_p, shares_apart
from tests.association.joined import joined

SIMULATIONS = 100
SEEN = 0.93 - 2 * (0.05 * 0.95 / SIMULATIONS) ** 0.5


def table_of(
    loss: np.ndarray, right: np.ndarray, images: np.ndarray | None = None, **columns: np.ndarray
) -> JoinedTable:
    """One score beside `lost`, the inside and outside of a mask, or baselines where one is called `entropy`."""
    baselines = {name: columns.pop(name) for name in list(columns) if name == "entropy"}
    return joined({"lost": loss, **columns}, right, images, baselines)


def pair_of(table: JoinedTable) -> Pair:
    return next(pair for pair in pairs_of(table, Settings())[0] if pair.loss == "lost")


def parted(n: int, failing: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(n, dtype=float), np.arange(n) < n - failing


def has_width(found: values.Tested, value: float, least: float) -> None:
    assert found.score.value == pytest.approx(value)
    assert found.score.high - found.score.low > least
    assert found.p is not None
    assert 0 < found.p < 1e-3


def test_six_failures_at_the_top_of_twenty_are_not_certain() -> None:
    found = pair_of(table_of(*parted(20, 6)))
    assert found.prediction is not None
    has_width(found.prediction.auroc, 1.0, 0.15)
    assert found.prediction.auroc.p == pytest.approx(2 / comb(20, 6))
    assert found.prediction.auroc.score.method == (
        "95 % jackknife t interval over images, no narrower than Newcombe's"
    )
    has_width(found.spearman, stats.spearmanr(*parted(20, 6)).statistic, 0.2)


def test_quartiles_all_right_and_all_wrong_are_not_certain() -> None:
    found = pair_of(table_of(*parted(100, 50)))
    assert found.quartiles is not None
    has_width(found.quartiles.difference, -1.0, 0.15)
    wrong = found.quartiles.highest.high  # Newcombe's method of two Wilson intervals, each of 25 answers
    assert found.quartiles.difference.score.high == pytest.approx(-1 + 2**0.5 * wrong, abs=0.02)
    has_width(found.spearman, stats.spearmanr(*parted(100, 50)).statistic, 0.1)
    assert found.spearman.score.method.endswith(", no narrower than Fisher's z")


def test_a_partial_correlation_and_both_sides_of_a_mask_have_width() -> None:
    loss, right = parted(60, 30)
    noise = np.random.default_rng(0).normal(size=60)
    sides = {"loss_inside": loss, "loss_outside": noise}
    (found,) = grounded_of(table_of(loss, right, **sides), Settings())
    has_width(found.inside, stats.spearmanr(loss, right).statistic, 0.1)
    width = found.difference.score.high - found.difference.score.low
    assert width > found.outside.score.high - found.outside.score.low
    (same,) = grounded_of(table_of(loss, right, loss_inside=loss, loss_outside=loss + 1.0), Settings())
    assert same.difference.score.value == 0
    assert same.difference.p == 1
    rank = pair_of(table_of(noise, right, entropy=loss))
    assert rank.prediction is not None
    has_width(rank.prediction.baselines[0].auroc, 1.0, 0.05)
    advantage = rank.prediction.baselines[0].advantage.score
    assert advantage.high - advantage.low > 0.25


@pytest.mark.parametrize("questions", [1, 3])
@pytest.mark.parametrize(("n", "failing"), [(20, 6), (60, 6), (60, 30)])
@pytest.mark.parametrize("area", [0.9, 0.95, 0.98, 0.99])
def test_an_auroc_near_one_is_covered(n: int, failing: int, area: float, questions: int) -> None:
    """The jackknife alone: .88, .75, .52, .33 of 6 in 20, .89, .86, .79, .59 of 6 in 60, and .95 to .81 of 30 in 60."""
    rng = np.random.default_rng(0)
    apart = np.sqrt(2) * stats.norm.ppf(area)
    failed = np.arange(n) < failing
    images, covered = np.arange(n).repeat(questions), 0
    for _ in range(SIMULATIONS):
        loss = (rng.normal(size=n) + apart * failed).repeat(questions)
        found = pair_of(table_of(loss, ~failed.repeat(questions), images))
        assert found.prediction is not None
        score = found.prediction.auroc.score
        covered += score.low <= area <= score.high
    assert covered / SIMULATIONS >= SEEN


def test_the_p_value_is_never_below_that_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(1)
    for effect in (0.0, 0.5, 2.0, 6.0):
        for _ in range(20):
            failed = rng.permutation(30) < 8
            loss = rng.normal(size=30) + effect * failed
            found = pair_of(table_of(loss, ~failed))
            assert found.prediction is not None
            assert found.prediction.auroc.p is not None
            assert found.prediction.auroc.p >= stats.mannwhitneyu(loss[failed], loss[~failed]).pvalue


def test_formulas_against_other_code() -> None:
    """Newcombe's ends solve his equation; areas and shares turn around; scipy's chi-square and t."""
    low, high = area_interval(0.8, 12, 40, 0.95)
    z, half = stats.norm.ppf(0.975), (12 + 40) / 2 - 1
    for end in (low, high):
        spread = end * (1 - end) * (1 + half * ((1 - end) / (2 - end) + end / (1 + end))) / (12 * 40)
        assert (end - 0.8) ** 2 == pytest.approx(z**2 * spread)
    assert area_interval(0.2, 12, 40, 0.95) == pytest.approx((1 - high, 1 - low), abs=1e-9)
    assert area_interval(1.0, 12, 40, 0.95)[1] == 1.0
    assert area_interval(0.0, 12, 40, 0.95) == pytest.approx(
        (0.0, 1 - area_interval(1.0, 12, 40, 0.95)[0]), abs=1e-6
    )
    lower, upper, p = shares_apart((56 / 70, 70), (48 / 80, 80), 0.95)
    assert (-upper, -lower) == pytest.approx((0.0524, 0.3339), abs=5e-5)  # Newcombe 1998, table II, method 10
    assert p == pytest.approx(stats.chi2_contingency([[56, 14], [48, 32]], correction=False).pvalue)
    x, y = np.random.default_rng(0).normal(size=(2, 25))
    assert correlation_p(float(stats.spearmanr(x, y).statistic), 25) == pytest.approx(
        stats.spearmanr(x, y).pvalue
    )
    failed = np.arange(200) < 80
    twice = area_p(1.0, np.repeat(np.arange(100.0)[::-1], 2), failed, 40, 60)
    assert twice == pytest.approx(
        stats.mannwhitneyu(
            np.arange(40), np.arange(40, 100), use_continuity=False, method="asymptotic"
        ).pvalue
    )


def test_several_answers_of_a_draw_tell_more_than_one() -> None:
    """8 views of each of 22 objects: Newcombe's interval of 22 covered .997 to 1, with .5 in it at p < .05."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(22), 8)
    wider = []
    for _ in range(40):
        loss, hard = (
            np.sqrt(0.3) * rng.normal(size=22)[group] + np.sqrt(0.7) * rng.normal(size=176) for _ in range(2)
        )
        right = 0.5 * loss + 0.87 * hard < 0.5
        found = pair_of(table_of(loss, right, group))
        assert found.prediction is not None
        score = found.prediction.auroc.score
        draws = ranks_without_each(loss[None], ~right[None], group)
        alone = score_of(draws.areas[:, 0, 0], 22, chance=0.5, scale="area")
        wider.append((score.high - score.low) / (alone.high - alone.low))
    assert min(wider) > 1 - 1e-9
    assert np.median(wider) < 1.1
