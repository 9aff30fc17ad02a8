"""Means over images that share a gallery: halves equal a search of their own, and intervals cover the truth."""

from collections.abc import Callable

import numpy as np
import pytest

from connector_bench.preservation import design_effect, geometry, knn, side
from connector_bench.preservation.neighbours.ranking import Halved, Ordered, ranks_of, read_rankings
from connector_bench.preservation.retrieval import retrieval, retrieval_in_halves
from connector_bench.preservation.side import both_sides
from connector_bench.stats.floors import LEAST_FOR_GEOMETRY
from connector_bench.stats.intervals import Score

from .test_geometry import rank_values

SIMULATIONS = 200
N = 120
ALONE = design_effect.Effect(1.0, np.zeros(2))
Scores = Callable[[np.random.Generator, int], dict[str, Score]]


@pytest.fixture
def fewer_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(design_effect, "TRIALS", 30)


def sides(rng: np.random.Generator, n: int, d: int = 5) -> tuple[np.ndarray, np.ndarray]:
    pre = rng.normal(size=(n, d))
    post = np.tanh(pre) + 0.5 * rng.normal(size=(n, d))
    return pre.astype(np.float32), post.astype(np.float32)


def halved(vectors: np.ndarray, half: np.ndarray) -> Halved:
    return Ordered.of(vectors, "l2").inside(half)


@pytest.mark.parametrize("n", [40, 41])
def test_halves_equal_a_search_of_their_own(n: int) -> None:
    pre, post = sides(np.random.default_rng(0), n)
    half = np.random.default_rng(1).permutation(n) < n // 2
    nearest = halved(pre, half).nearest(6)
    rank = halved(post, half).rank_of(nearest)
    for chosen in (half, ~half):
        rows = np.flatnonzero(chosen)
        alone = knn.neighbours(pre[rows], 6)
        np.testing.assert_array_equal(nearest[rows], rows[alone])
        np.testing.assert_array_equal(rank[rows], read_rankings(post[rows], "l2", ranks_of(alone))[0])


def test_values_in_halves_are_those_of_the_measures() -> None:
    """Retrieval and geometry of a half on its own, to factors common to all images."""
    pre, post = sides(np.random.default_rng(0), 90)
    labels = np.random.default_rng(2).integers(0, 12, 90)
    half = np.random.default_rng(1).permutation(90) < 45
    before, after = halved(pre, half), halved(post, half)
    found = geometry.rank_geometry_in_halves(before, after)
    asked = retrieval_in_halves(before.whole, after.whole, labels)(before, after)
    for chosen in (half, ~half):
        alone = rank_values(pre[chosen], post[chosen])
        for name in ("trustworthiness", "continuity"):
            scaled = 1 + found[name][chosen] * 2 / (10 * (2 * 45 - 31))
            np.testing.assert_allclose(scaled, alone[name], err_msg=name)
        for name in ("imbalance_pre_post", "imbalance_post_pre"):
            np.testing.assert_allclose(2 / 45 * found[name][chosen], alone[name], err_msg=name)
        expected = retrieval(pre[chosen], post[chosen], labels[chosen]).columns()
        for key, column in expected.items():
            own = asked[key]
            values = own[0] if isinstance(own, tuple) else own
            np.testing.assert_allclose(values[chosen], column, err_msg=key)
        nearest = knn.neighbours(post[chosen], 5)
        shared = (labels[chosen][nearest] == labels[chosen][:, None]).mean(axis=1)
        asked_for = np.isfinite(expected["purity_post"])
        np.testing.assert_allclose(asked["purity_post"][1][chosen][asked_for], shared[asked_for])


def rank_scores(pre: np.ndarray, post: np.ndarray, seed: int = 0) -> dict[str, Score]:
    both = both_sides(pre, post, 10, seed=seed)
    halves = [geometry.rank_geometry_in_halves]
    effects = design_effect.design_effects(both[0].sample, both[1].sample, halves, seed=seed)
    return geometry.rank_geometry(*both, effects)[1]


def of_ranks(rng: np.random.Generator, seed: int) -> dict[str, Score]:
    pre, post = sides(rng, N)
    return rank_scores(pre, post, seed)


def of_retrieval(rng: np.random.Generator, seed: int) -> dict[str, Score]:
    labels = rng.integers(0, 8, N)
    pre = np.random.default_rng(0).normal(size=(8, 6))[labels] + rng.normal(size=(N, 6))
    post = np.tanh(pre) + 0.5 * rng.normal(size=(N, 6))
    return retrieval(pre.astype(np.float32), post.astype(np.float32), labels, seed=seed).scores


@pytest.mark.usefixtures("fewer_trials")
@pytest.mark.parametrize("measure", [of_ranks, of_retrieval])
def test_intervals_cover_what_other_galleries_give(measure: Scores) -> None:
    rng = np.random.default_rng(3)
    simulated = [measure(rng, seed) for seed in range(SIMULATIONS)]
    for name in simulated[0]:
        scores = [scores[name] for scores in simulated]
        truth = np.mean([score.value for score in scores])
        # standard error .015; docs/AGREEMENT.md has longer runs. With the gallery held fixed it is .5 to .9
        assert 0.89 <= np.mean([score.low <= truth <= score.high for score in scores]) <= 0.99, name


@pytest.mark.usefixtures("fewer_trials")
@pytest.mark.parametrize("measure", [of_ranks, of_retrieval])
def test_of_a_large_set_some_images_rank_all_others(measure: Scores, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(np.random.default_rng(3), 0)
    monkeypatch.setattr(side, "QUERIES", LEAST_FOR_GEOMETRY)
    rng = np.random.default_rng(3)
    simulated = [measure(rng, seed) for seed in range(SIMULATIONS // 4)]
    for name, score in whole.items():
        scores = [scores[name] for scores in simulated]
        ranked = not name.startswith(("recall", "purity"))
        assert scores[0].n == (LEAST_FOR_GEOMETRY if ranked else N), name
        assert (scores[0].value == score.value) == (not ranked), name
        truth = np.mean([score.value for score in scores])
        assert np.mean([score.low <= truth <= score.high for score in scores]) >= 0.88, name


def test_values_of_images_that_rank_others_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    pre, post = sides(np.random.default_rng(0), N)
    classes = np.arange(N) % 5
    whole = both_sides(pre, post, 10, classes=[classes])
    monkeypatch.setattr(side, "QUERIES", 30)
    part = both_sides(pre, post, 10, classes=[classes])
    for some, every in zip(part, whole, strict=True):
        assert len(some.queries) == 30
        np.testing.assert_array_equal(some.ranks, every.ranks[some.queries])
        np.testing.assert_array_equal(some.precisions[0], every.precisions[0][some.queries])
    found, full = (geometry.rank_geometry(*both, {})[0] for both in (part, whole))
    for name, column in found.items():
        np.testing.assert_array_equal(np.flatnonzero(np.isfinite(column)), part[0].queries)
        np.testing.assert_array_equal(column[part[0].queries], full[name][part[0].queries])


def test_of_a_large_set_a_part_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(design_effect, "MAX_SAMPLE", 200)
    pre, post = sides(np.random.default_rng(0), 500)
    part = rank_scores(pre, post)
    monkeypatch.setattr(design_effect, "MAX_SAMPLE", 500)
    whole = rank_scores(pre, post)
    for name, score in whole.items():
        assert score.value == part[name].value
        assert part[name].high - part[name].low == pytest.approx(score.high - score.low, rel=0.35), name


def test_too_few_images_to_halve_are_said_to_be() -> None:
    pre, post = sides(np.random.default_rng(0), 30)
    scores = rank_scores(pre, post)
    assert {score.method for score in scores.values()} == {"no interval: 30 images, 100 are needed"}
    assert all(np.isnan([score.low, score.high]).all() for score in scores.values())
    assert rank_scores(pre, pre)["trustworthiness"].value == 1


@pytest.mark.parametrize(("kind", "truth"), [("positive", 0.05), ("close to 1", 0.95)])
def test_skewed_means_are_covered_on_both_sides(kind: design_effect.Kind, truth: float) -> None:
    """Ranks of nearest neighbours are about as skewed as a squared exponential: a plain t interval misses .08 below."""
    rng = np.random.default_rng(0)
    below = above = 0
    for _ in range(500):
        values = 0.025 * rng.exponential(size=400) ** 2
        score = design_effect.mean_score(values if kind == "positive" else 1 - values, ALONE, kind=kind)
        below, above = below + (score.high < truth), above + (score.low > truth)
    assert 0.93 <= 1 - (below + above) / 500 <= 0.97
    assert max(below, above) / 500 < 0.05
