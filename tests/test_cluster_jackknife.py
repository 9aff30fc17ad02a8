"""Rank statistics with clusters: oracles on written-out samples, coverage and p-values in 500 simulations."""

import numpy as np
import pytest
from scipy import special
from scipy import stats as scipy_stats
from sklearn.metrics import roc_auc_score

from connector_bench.stats import cluster_jackknife
from connector_bench.stats.cluster_jackknife import (
    p_value,
    partials,
    ranks_without_each,
    score_of,
    sums_without_each,
)
from connector_bench.stats.correlation import spearman
from connector_bench.stats.intervals import cluster_sums

SIMULATIONS = 500
IMAGES, QUESTIONS = 70, 3
CLUSTERS = np.repeat(np.arange(IMAGES), QUESTIONS)


def questions(rng: np.random.Generator, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Loss of an image, repeated on its questions, and scores whose part in common correlates with it by `rho`.

    Half of a score's variance belongs to the image: questions of one image are alike.
    """
    loss = rng.normal(size=IMAGES)
    shared = np.sqrt(2) * rho * loss + np.sqrt(1 - 2 * rho**2) * rng.normal(size=IMAGES)
    return loss[CLUSTERS], (shared[CLUSTERS] + rng.normal(size=len(CLUSTERS))) / np.sqrt(2)


def draws_of(*columns: np.ndarray, outcome: np.ndarray | None = None):
    outcomes = np.zeros((0, len(columns[0])), bool) if outcome is None else outcome[None]
    return ranks_without_each(np.stack(columns), outcomes, CLUSTERS)


def test_ranks_without_a_cluster_are_those_of_the_written_out_sample() -> None:
    rng = np.random.default_rng(0)
    n, clusters = 60, np.repeat(np.arange(20), 3)
    columns = np.stack([rng.normal(size=n), rng.integers(0, 4, n), rng.integers(0, 2, n)]).astype(float)
    failed = rng.random(n) < 0.4
    found = ranks_without_each(columns, failed[None], clusters)
    assert len(found.correlations) == 21
    for entry, left_out in enumerate([None, *range(20)]):
        rows = np.flatnonzero(clusters != left_out)
        expected = scipy_stats.spearmanr(columns[:, rows], axis=1).statistic
        assert found.correlations[entry] == pytest.approx(expected, abs=1e-12)
        areas = [roc_auc_score(failed[rows], column[rows]) for column in columns]
        assert found.areas[entry, :, 0] == pytest.approx(areas, abs=1e-12)


def test_sums_without_a_cluster_are_those_of_the_written_out_sample() -> None:
    values = np.random.default_rng(0).random((12, 2))
    sums = cluster_sums(values, np.repeat(list("bca"), 4))
    assert sums == pytest.approx(np.stack([values[8:].sum(0), values[:4].sum(0), values[4:8].sum(0)]))
    expected = np.concatenate([sums.sum(0)[None], sums.sum(0) - sums])
    assert sums_without_each(sums) == pytest.approx(expected)


def test_of_very_many_clusters_groups_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    loss, score = rng.multivariate_normal([0, 0], [[1, 0.4], [0.4, 1]], 600).T
    one_by_one = spearman(loss, score)
    monkeypatch.setattr(cluster_jackknife, "MOST_GROUPS", 100)
    grouped = spearman(loss, score)
    assert (grouped.value, grouped.n) == (one_by_one.value, 600)
    assert grouped.high - grouped.low == pytest.approx(one_by_one.high - one_by_one.low, rel=0.2)


def test_partial_correlations_agree_with_the_closed_form() -> None:
    rng = np.random.default_rng(2)
    loss, score = questions(rng, -0.4)
    control = loss + rng.normal(size=len(loss))
    draws = draws_of(loss, score, control)
    pairs = ((loss, score), (loss, control), (score, control))
    xy, xz, yz = (scipy_stats.spearmanr(*pair).statistic for pair in pairs)
    closed = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert partials(draws.correlations, 0, 1, [2])[0] == pytest.approx(closed, abs=1e-12)


def test_clusters_carry_less_than_as_many_images() -> None:
    rng = np.random.default_rng(2)
    loss, score = questions(rng, -0.4)
    clustered = score_of(draws_of(loss, score).correlations[:, 0, 1], IMAGES, chance=0.0)
    plain = spearman(loss, score)
    assert clustered.value == pytest.approx(plain.value, abs=1e-12)
    assert clustered.high - clustered.low > 1.1 * (plain.high - plain.low)


@pytest.mark.parametrize("rho", [0.0, -0.4])
def test_spearman_covers_the_truth_and_its_p_values_are_uniform(rho: float) -> None:
    rng = np.random.default_rng(1)
    truth = 6 / np.pi * np.arcsin(rho / 2)
    draws = [draws_of(*questions(rng, rho)).correlations[:, 0, 1] for _ in range(SIMULATIONS)]
    scores = [score_of(entry, IMAGES, chance=0.0) for entry in draws]
    assert np.mean([score.value for score in scores]) == pytest.approx(truth, abs=0.01)
    assert 0.93 <= np.mean([score.low <= truth <= score.high for score in scores]) <= 0.97
    p = [p_value(entry, IMAGES, null=0.0) for entry in draws]
    if rho == 0:
        assert scipy_stats.kstest(p, "uniform").pvalue > 0.01
        assert 0.03 <= np.mean(np.array(p) < 0.05) <= 0.07
    else:
        assert np.mean(np.array(p) < 0.05) > 0.9


def test_ignoring_the_clusters_would_find_too_much() -> None:
    rng = np.random.default_rng(1)
    p = []
    for _ in range(SIMULATIONS):
        loss, score = questions(rng, 0.0)
        p.append(scipy_stats.spearmanr(loss, score).pvalue)
    assert np.mean(np.array(p) < 0.05) > 0.1


def test_auroc_covers_the_truth_and_its_p_values_are_uniform() -> None:
    rng = np.random.default_rng(4)
    covered, null = [], []
    for _ in range(SIMULATIONS):
        image, own = rng.normal(size=IMAGES)[CLUSTERS], rng.normal(size=len(CLUSTERS))
        failed = rng.normal(size=IMAGES)[CLUSTERS] + own > 0.5
        noise = (image + rng.normal(size=len(CLUSTERS))) / np.sqrt(2)
        draws = draws_of(noise + 0.8 * failed, noise, outcome=failed)
        score = score_of(draws.areas[:, 0, 0], IMAGES, chance=0.5, scale="area")
        covered.append(score.low <= special.ndtr(0.8 / np.sqrt(2)) <= score.high)
        null.append(p_value(draws.areas[:, 1, 0], IMAGES, null=0.5, scale="area"))
    assert 0.93 <= np.mean(covered) <= 0.97
    assert scipy_stats.kstest(null, "uniform").pvalue > 0.01


def test_the_partial_correlation_removes_a_planted_confounder() -> None:
    rng = np.random.default_rng(6)
    plain, partial = [], []
    for _ in range(SIMULATIONS):
        area = rng.normal(size=len(CLUSTERS))
        loss, score = (side + noise for side, noise in zip((area, -area), questions(rng, 0.0), strict=True))
        draws = draws_of(loss, score, area)
        plain.append(p_value(draws.correlations[:, 0, 1], IMAGES, null=0.0))
        partial.append(partials(draws.correlations, 0, 1, [2]))
    assert np.mean(np.array(plain) < 0.05) > 0.99
    assert np.mean([entry[0] for entry in partial]) == pytest.approx(0, abs=0.02)
    p = [p_value(entry, IMAGES, null=0.0) for entry in partial]
    assert scipy_stats.kstest(p, "uniform").pvalue > 0.01


def test_p_values_agree_with_a_permutation_of_images() -> None:
    rng = np.random.default_rng(8)
    for rho in (0.0, -0.15):
        loss, score = questions(rng, rho)
        by_image = score.reshape(IMAGES, QUESTIONS)

        def statistic(order: np.ndarray, loss: np.ndarray = loss, table: np.ndarray = by_image) -> float:
            return scipy_stats.spearmanr(loss, table[order].ravel()).statistic

        exact = scipy_stats.permutation_test(
            (np.arange(IMAGES),), statistic, permutation_type="pairings", n_resamples=999, rng=rng
        )
        draws = ranks_without_each(np.stack([loss, score]), np.zeros((0, len(loss)), bool), CLUSTERS)
        ours = p_value(draws.correlations[:, 0, 1], IMAGES, null=0.0)
        assert ours == pytest.approx(exact.pvalue, abs=0.05)


def test_what_has_no_value_says_so() -> None:
    rng = np.random.default_rng(0)
    loss, score = questions(rng, 0.0)
    constant = ranks_without_each(
        np.stack([np.ones_like(loss), score]), np.zeros((0, len(loss)), bool), CLUSTERS
    )
    assert np.isnan(constant.correlations[:, 0, 1]).all()
    assert p_value(constant.correlations[:, 0, 1], IMAGES, null=0.0) is None
    failed = loss > np.median(loss)
    perfect = ranks_without_each(loss[None], failed[None], CLUSTERS).areas[:, 0, 0]
    assert p_value(perfect, IMAGES, null=0.5) == 0
    assert p_value(np.zeros(5), IMAGES, null=0.0) == 1
    determined = ranks_without_each(
        np.stack([loss, score, 2 * loss]), np.zeros((0, len(loss)), bool), CLUSTERS
    )
    assert np.isnan(partials(determined.correlations, 0, 1, [2])).all()
    with pytest.raises(ValueError, match="at least 2 clusters, got 1"):
        ranks_without_each(np.ones((1, 3)), np.zeros((0, 3), bool), np.zeros(3))
    with pytest.raises(ValueError, match="got 1 others"):
        ranks_without_each(np.array([[1.0, np.nan]]), np.zeros((0, 2), bool), np.arange(2))
