"""Influences equal what leaving an image out changes, and their intervals cover the truth."""

from collections.abc import Callable

import numpy as np
import pytest

from connector_bench.preservation import geometry, influence
from connector_bench.preservation.principal import Principal
from connector_bench.stats.intervals import Score
from tests.oracles import effective_rank, procrustes_similarity, top1_energy

SIMULATIONS = 1500
Sides = tuple[np.ndarray, np.ndarray]


def sides(rng: np.random.Generator, n: int, noise: float = 1.0, d: int = 6) -> Sides:
    scale = np.arange(1, d + 3) ** -0.7
    pre = rng.normal(size=(n, d)) * scale[:d]
    mixing = np.random.default_rng(0).normal(size=(d, d + 2))
    post = np.tanh(pre @ mixing) + noise * rng.normal(size=(n, d + 2)) * scale
    return pre.astype(np.float32), post.astype(np.float32)


def principal(pair: Sides) -> tuple[Principal, Principal]:
    return Principal.of(pair[0]), Principal.of(pair[1])


FIGURES: dict[str, tuple[Callable[..., Score], Callable[..., float]]] = {
    "cka": (influence.debiased_cka, lambda *pair: geometry.debiased_cka(*principal(pair))),
    "procrustes": (influence.procrustes, procrustes_similarity),
    "erank": (
        lambda _, post: influence.spectral(post)["erank"],
        lambda _, post: effective_rank(post),
    ),
    "top1": (
        lambda _, post: influence.spectral(post)["top1_energy"],
        lambda _, post: top1_energy(post),
    ),
}


@pytest.mark.parametrize("figure", FIGURES)
def test_interval_is_that_of_leaving_images_out(figure: str) -> None:
    measured, plain = FIGURES[figure]
    pre, post = sides(np.random.default_rng(0), 400)
    score = measured(*principal((pre, post)))
    assert score.value == pytest.approx(plain(pre, post), rel=1e-12)
    without = np.array([plain(np.delete(pre, i, 0), np.delete(post, i, 0)) for i in range(400)])
    jackknife = np.sqrt(399 / 400 * np.square(without - without.mean()).sum())
    assert (score.high - score.low) / 2 / 1.966 == pytest.approx(jackknife, rel=0.03)


@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_intervals_cover_the_figure_expected_of_other_images(noise: float) -> None:
    rng = np.random.default_rng(1)
    drawn = [sides(rng, 300, noise) for _ in range(SIMULATIONS)]
    turned = [principal(pair) for pair in drawn]
    for figure, (measured, _) in FIGURES.items():
        scores = [measured(*pair) for pair in turned]
        truth = np.mean([score.value for score in scores])
        assert 0.93 <= np.mean([score.low <= truth <= score.high for score in scores]) <= 0.975, figure


def test_sides_with_nothing_in_common_get_intervals_that_are_too_wide() -> None:
    rng = np.random.default_rng(1)
    drawn = [(sides(rng, 200)[0], sides(rng, 200)[1]) for _ in range(200)]
    scores = [influence.debiased_cka(*principal(pair)) for pair in drawn]
    assert np.mean([score.low <= 0 <= score.high for score in scores]) >= 0.95


def test_fewer_images_than_dimensions() -> None:
    pre, post = sides(np.random.default_rng(0), 120, d=300)
    side = Principal.of(post)
    assert side.coordinates.shape == (120, 120)
    found = influence.spectral(side)
    assert found["erank"].value == pytest.approx(effective_rank(post))
    assert found["erank"].high <= 119
    assert influence.procrustes(*principal((pre, pre))).low == pytest.approx(1)
    assert influence.debiased_cka(*principal((pre, pre))).low == pytest.approx(1)


def test_what_does_not_vary_has_no_spectrum() -> None:
    assert influence.spectral(Principal.of(np.full((20, 4), 0.3, np.float32))) == {}
