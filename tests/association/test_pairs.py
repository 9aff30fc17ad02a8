"""Figures of a pair against planted associations of known strength, in 500 simulations, and against other code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from connector_bench.association import values as types
from connector_bench.association.grounded import grounded_of
from connector_bench.association.pairs import pairs_of
from connector_bench.association.prediction import failures
from connector_bench.association.testing import adjusted
from connector_bench.association.values import JoinedTable, Pair, Settings
from connector_bench.comparison.compare import MetricDifference
from connector_bench.stats import cluster_jackknife
from connector_bench.stats.paired import Difference
from tests.association.joined import joined

SIMULATIONS = 500
IMAGES, QUESTIONS = 100, 2
QUICK = Settings()


def planted(
    rng: np.random.Generator,
    effect: float,
    *,
    large_fail: float = 0.0,
    confounder: float = 0.0,
    images: int = IMAGES,
) -> JoinedTable:
    """Questions that fail the more is lost (`effect`, logit scale), in images that are harder or easier as a whole.

    Large masks fail as well (`large_fail`); or small masks go with loss and with failure alike (`confounder`).
    """
    n = images * QUESTIONS
    image = np.repeat(np.arange(images), QUESTIONS)
    area = rng.normal(size=n)
    loss = (rng.normal(size=images)[image] + rng.normal(size=n)) / np.sqrt(2) - confounder * area
    hard = 0.7 * rng.normal(size=images)[image]
    failed = rng.random(n) < 1 / (
        1 + np.exp(-(effect * loss + hard + (large_fail - 2 * confounder) * area - 0.5))
    )
    return joined({"loss_inside": loss}, 1.0 - failed, image, {"mask_area": area})


def pair_of(table: JoinedTable, settings: Settings = QUICK) -> Pair:
    (pair,), skipped = pairs_of(table, settings)
    assert not skipped
    return pair


FIGURES: dict[str, Callable[[Pair], types.Tested]] = {
    "spearman": lambda pair: pair.spearman,
    "partial": lambda pair: pair.partial.correlation,
    "quartiles": lambda pair: pair.quartiles.difference,
    "auroc": lambda pair: pair.prediction.auroc,
    "advantage": lambda pair: pair.prediction.baselines[0].advantage,
}


EFFECT = {"effect": 0.8, "large_fail": 0.4}


@cache
def simulated(**planting: float) -> list[Pair]:
    rng = np.random.default_rng(12)
    return [pair_of(planted(rng, **planting), replace(QUICK, seed=i)) for i in range(SIMULATIONS)]


@cache
def truth(**planting: float) -> Pair:
    """The same figures on half a million questions."""
    table = planted(np.random.default_rng(0), images=250_000, **planting)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster_jackknife, "MOST_GROUPS", 2)  # the value alone is wanted
        return pair_of(table, Settings())


@pytest.mark.parametrize("figure", FIGURES)
def test_a_planted_association_is_estimated_and_covered(figure: str) -> None:
    of = FIGURES[figure]
    expected = of(truth(**EFFECT)).score.value
    found = [of(pair) for pair in simulated(**EFFECT)]
    assert np.mean([entry.score.value for entry in found]) == pytest.approx(expected, abs=0.008)
    covered = np.mean([entry.score.low <= expected <= entry.score.high for entry in found])
    assert 0.92 <= covered <= 0.975  # 0.94 to 0.95 in 1,500 simulations
    assert np.mean([entry.p < 0.05 for entry in found]) > 0.3


def test_what_is_planted_is_what_theory_says() -> None:
    """Without image effects, AUROC and Spearman of a logistic model by numerical integration."""
    loss = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    hardness = np.linspace(-6, 6, 400)
    spread = np.sqrt(0.7**2 + 0.4**2)
    weights = stats.norm.pdf(hardness, scale=spread)
    logits = 0.8 * loss[:, None] + hardness - 0.5
    fails = (1 / (1 + np.exp(-logits))) @ weights / weights.sum()
    ranks = (np.arange(20_000) + 0.5) / 20_000
    share = fails.mean()
    area = (np.average(ranks, weights=fails) - share / 2) / (1 - share)
    assert truth(**EFFECT).prediction.auroc.score.value == pytest.approx(area, abs=0.003)
    spearman = -(np.average(ranks, weights=fails) - 0.5) * share * np.sqrt(12) / np.sqrt(share * (1 - share))
    assert truth(**EFFECT).spearman.score.value == pytest.approx(spearman, abs=0.004)


@pytest.mark.parametrize("figure", ["spearman", "partial", "quartiles", "auroc"])
def test_without_an_association_p_values_are_uniform(figure: str) -> None:
    p = np.array([FIGURES[figure](pair).p for pair in simulated(effect=0.0)])
    for level in (
        0.05,
        0.2,
        0.5,
    ):  # differences of two shares are discrete: no test of the whole distribution
        assert np.mean(p < level) == pytest.approx(
            level, abs=2.6 * np.sqrt(level * (1 - level) / SIMULATIONS)
        )
    if figure != "quartiles":
        assert stats.kstest(p, "uniform").pvalue > 0.01


def test_the_partial_correlation_removes_the_mask_area() -> None:
    pairs = simulated(effect=0.0, confounder=1.0)
    assert np.mean([pair.spearman.p < 0.05 for pair in pairs]) > 0.99
    assert np.mean([pair.prediction.auroc.score.value for pair in pairs]) > 0.65, (
        "loss seems to predict failure"
    )
    p = [pair.partial.correlation.p for pair in pairs]
    assert np.mean(np.array(p) < 0.05) <= 0.1
    assert abs(np.mean([pair.partial.correlation.score.value for pair in pairs])) < 0.03
    assert np.mean([pair.prediction.baselines[0].advantage.score.high < 0 for pair in pairs]) > 0.9
    assert not any(pair.prediction.baselines[0].larger_fails for pair in pairs), (
        "it is the small masks that fail"
    )


def test_adjusted_p_values_find_nothing_where_nothing_is() -> None:
    families = [adjusted(tuple(simulated(effect=0.0)[i : i + 10])) for i in range(0, SIMULATIONS, 10)]
    raw = [any(pair.spearman.p < 0.05 for pair in family) for family in families]
    false = [any(pair.spearman.significant for pair in family) for family in families]
    assert np.mean(raw) > 0.2, "one in ten unrelated pairs is often below 0.05"
    assert np.mean(false) <= 0.14  # 5 % expected, 50 families


def test_adjustment_is_that_of_benjamini_and_hochberg_within_a_kind() -> None:
    pairs = tuple(simulated(effect=0.0)[:7])
    found = adjusted(pairs)
    for of in FIGURES.values():
        p = np.array([of(pair).p for pair in pairs])
        order = np.argsort(p)[::-1]
        steps = np.minimum.accumulate(p[order] * len(p) / (len(p) - np.arange(len(p))))
        expected = np.empty(len(p))
        expected[order] = np.minimum(steps, 1)
        assert [of(pair).q for pair in found] == pytest.approx(expected)
        assert [of(pair).p for pair in found] == pytest.approx(p)
    assert found[0].spearman.score == pairs[0].spearman.score


def test_values_are_those_of_the_libraries() -> None:
    table = planted(np.random.default_rng(3), 0.5, images=400)
    pair = pair_of(table)
    loss, area, score = table.losses["loss_inside"], table.baselines["mask_area"], table.scores["accuracy"]
    assert pair.spearman.score.value == pytest.approx(stats.spearmanr(loss, score).statistic)
    assert pair.prediction.auroc.score.value == pytest.approx(roc_auc_score(score == 0, loss))
    small = max(roc_auc_score(score == 0, area), roc_auc_score(score == 0, -area))
    (baseline,) = pair.prediction.baselines
    assert baseline.auroc.score.value == pytest.approx(small)
    assert baseline.advantage.score.value == pytest.approx(roc_auc_score(score == 0, loss) - small)
    quarter = pd.qcut(loss, 4, labels=False)
    assert pair.quartiles.lowest.value == pytest.approx(score[quarter == 0].mean())
    assert pair.quartiles.highest.value == pytest.approx(score[quarter == 3].mean())
    tenth = pd.qcut(loss, 10, labels=False)
    for i, entry in enumerate(pair.prediction.calibration):
        assert entry.failure_rate.value == pytest.approx((score[tenth == i] == 0).mean())
        assert entry.failure_rate.low <= entry.failure_rate.value <= entry.failure_rate.high
        assert entry.mean_loss == pytest.approx(loss[tenth == i].mean())
    assert sum(entry.documents for entry in pair.prediction.calibration) == len(loss)
    assert (pair.documents, pair.images) == (400 * QUESTIONS, 400)
    assert (pair.prediction.failure, pair.prediction.failures) == ("accuracy < 0.5", int((score == 0).sum()))


def test_a_bin_without_failures_is_no_proof() -> None:
    rng = np.random.default_rng(0)
    table = planted(rng, 0.0, images=300)
    loss = table.losses["loss_inside"]
    sharp = replace(table, scores={"accuracy": (loss < np.quantile(loss, 0.75)).astype(float)})
    pair = pair_of(sharp)
    first, last = pair.prediction.calibration[0].failure_rate, pair.prediction.calibration[-1].failure_rate
    assert (first.value, first.low) == (0, 0)
    assert 0.03 < first.high < 0.2
    assert last.value == 1
    assert 0.8 < last.low < 0.97
    assert "Wilson" in first.method
    low, high = pair.quartiles.lowest, pair.quartiles.highest
    assert (low.value, low.high, high.value, high.low) == (1, 1, 0, 0)
    images = [len(set(np.array(table.images)[part])) for part in (loss <= np.quantile(loss, 0.25),)]
    assert low.low == pytest.approx(
        stats.binomtest(*images * 2).proportion_ci(method="wilson").low, abs=0.004
    )
    # scores that are no shares: nobody can tell an interval from those that are all alike
    points = np.where(sharp.scores["accuracy"] == 1, 30.0, 80.0)
    graded = pair_of(replace(table, scores={"cider": points}, higher_is_better={"cider": True}))
    for end in (graded.quartiles.lowest, graded.quartiles.highest):
        assert np.isnan([end.low, end.high]).all()
        assert end.method == "no interval: 0 images score other than the most frequent score, 6 are needed"


def test_rare_failures_of_many_images_have_their_interval_in_an_outer_quartile() -> None:
    """Two failures in 150 images of a quartile: the interval of a share, by scipy."""
    rng = np.random.default_rng(0)
    loss, failed = rng.normal(size=600), np.zeros(600, dtype=bool)
    order = np.argsort(loss)
    failed[order[[3, 90, 200, 300, 310, 400, 410, 580]]] = True
    table = replace(
        planted(rng, 0.0, images=600),
        documents=tuple(range(600)),
        images=tuple(map(str, range(600))),
        losses={"lost": loss},
        baselines={},
        scores={"accuracy": 1.0 - failed},
    )
    end = pair_of(table).quartiles.lowest
    expected = stats.binomtest(148, 150).proportion_ci(method="wilson")
    assert (end.low, end.high) == pytest.approx((expected.low, expected.high), abs=0.002)
    assert end.method == "95 % Wilson interval over images"


def test_a_quartile_of_few_images_has_a_mean_and_a_sentence() -> None:
    table = planted(np.random.default_rng(0), 0.0, images=24)
    few = pair_of(table).quartiles.lowest
    loss = table.losses["loss_inside"]
    images = set(np.array(table.images)[loss <= np.quantile(loss, 0.25)])
    assert np.isfinite(few.value)
    assert np.isnan([few.low, few.high]).all()
    assert few.method == f"no interval: {len(images)} images, 20 are needed"
    enough = pair_of(planted(np.random.default_rng(0), 0.0, images=100)).quartiles.lowest
    assert enough.low < enough.value < enough.high
    assert (enough.n, enough.method) == (100, "95 % Wilson interval over images")


def test_what_cannot_be_compared_is_named() -> None:
    table = planted(np.random.default_rng(0), 0.0)
    n = len(table.documents)
    flat = replace(
        table,
        losses={"lost": np.full(n, 0.2) + 1e-9 * np.arange(n), "loss_inside": table.losses["loss_inside"]},
        scores={**table.scores, "same": np.ones(n), "few": np.where(np.arange(n) < 6, 1.0, np.nan)},
        higher_is_better=dict.fromkeys(("accuracy", "same", "few"), True),
    )
    pairs, skipped = pairs_of(flat, QUICK)
    assert [(pair.loss, pair.score) for pair in pairs] == [("loss_inside", "accuracy")]
    whys = {entry.what: entry.why for entry in skipped}
    assert (
        "the loss is 0.2 on every document" in whys["m: patch_reconstruction beside accuracy of vqa (lost)"]
    )
    assert "every document scores 1" in " ".join(whys.values())
    assert "3 images have both figures, 20 are needed" in " ".join(whys.values())


def test_rare_failures_and_shared_losses_leave_gaps_with_reasons() -> None:
    table = planted(np.random.default_rng(0), 0.0)
    n = len(table.documents)
    (), (skipped,) = pairs_of(replace(table, scores={"accuracy": (np.arange(n) > 3).astype(float)}), QUICK)
    assert skipped.why == "2 images score other than the most frequent score, 6 are needed"
    scores = 0.6 + 0.4 * np.random.default_rng(1).random(n)
    scores[:4] = 0.1
    rare = pair_of(replace(table, scores={"accuracy": scores}, baselines={}))
    assert rare.prediction is None
    assert rare.partial is None
    assert [note.split(":")[0] for note in rare.notes] == ["no partial correlation", "no AUROC"]
    tied = pair_of(replace(table, losses={"lost": (np.arange(n) > n - 20).astype(float)}))
    assert tied.quartiles is None
    assert "share one loss" in tied.notes[0]


def test_failure_follows_the_scores_range_and_direction() -> None:
    within = np.array([0.0, 0.3, 0.6, 1.0])
    assert failures("acc", within, True, 0.5).failed.tolist() == [True, True, False, False]
    assert failures("error", within, False, 0.5).failed.tolist() == [False, False, True, True]
    cider = np.array([0.0, 0.0, 0.4, 2.5])
    found = failures("CIDEr", cider, True, 0.5)
    assert found.failed.tolist() == [True, True, False, False]
    assert found.rule == "CIDEr <= 0.2, its median"
    assert failures("error", cider, False, 0.5).rule == "error >= 0.2, its median"


def test_loss_inside_the_mask_tells_more_than_loss_outside() -> None:
    rng = np.random.default_rng(0)
    covered, apart = [], []
    for seed in range(200):
        table = planted(rng, 1.0)
        sides = {
            "loss_inside": table.losses["loss_inside"],
            "loss_outside": rng.normal(size=len(table.documents)),
        }
        (found,) = grounded_of(replace(table, losses=sides), replace(QUICK, seed=seed))
        expected = truth(effect=1.0).spearman.score.value
        covered.append(found.difference.score.low <= expected <= found.difference.score.high)
        apart.append(found.difference.p < 0.05)
        assert found.measure == "mse"
        assert found.inside_partial.controls == ("mask_area",)
    assert 0.91 <= np.mean(covered) <= 0.985
    assert np.mean(apart) > 0.8
    assert stats.spearmanr(sides["loss_outside"], table.scores["accuracy"]).statistic == pytest.approx(
        found.outside.score.value
    )


def test_a_q_of_exactly_5_percent_counts_in_every_command() -> None:
    """`compare` counted it and `analyze` did not."""
    change = Difference(0.1, 0.0, 0.2, 0.05, "interval", "test")
    for q, counts in ((0.05, True), (0.0501, False)):
        compared = MetricDifference(
            *("vqa", "accuracy", "accuracy", 0.5, 0.6, change, q),
            *(100, 100, 20, 10, True, (None, None), False),
        )
        assert compared.differs is counts
        assert types.Tested(types.Score(0.1, 0.0, 0.2, 100, 0.0, "interval"), 0.05, q).significant is counts
