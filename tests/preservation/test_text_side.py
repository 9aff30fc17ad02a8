"""Tokens beside words, against closed forms of normal distributions and scipy's square root of a matrix."""

import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial.distance import cdist, pdist

from connector_bench.preservation.text_side import (
    KnownWords,
    TokenSample,
    beside_the_words,
    frechet,
    sampled_places,
    token_figures,
    tokens_of_each,
)


def by_square_root(x: np.ndarray, y: np.ndarray) -> float:
    """The usual formula, with `scipy.linalg.sqrtm`."""
    first, second = (np.cov(side.T, bias=True) for side in (x, y))
    gap = np.square(x.mean(0) - y.mean(0)).sum()
    return float(gap + np.trace(first + second - 2 * linalg.sqrtm(first @ second).real))


@pytest.mark.parametrize(("n", "m", "d"), [(200, 150, 12), (30, 40, 60)])
def test_frechet_is_that_of_the_square_root_of_a_matrix(n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(d)
    x, y = (
        rng.normal(size=(n, d)) * np.linspace(0.5, 2, d),
        0.7 + rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) / d,
    )
    assert frechet(x, y) == pytest.approx(by_square_root(x, y), rel=1e-4, abs=1e-4)
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet(x, x + 3) == pytest.approx(9 * d)


def test_frechet_of_normal_samples_nears_its_closed_form() -> None:
    rng = np.random.default_rng(0)
    a, b, shift = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 0.5]), np.array([1.0, 0.0, -1.0])
    x, y = rng.normal(size=(60_000, 3)) * a, shift + rng.normal(size=(60_000, 3)) * b
    assert frechet(x, y) == pytest.approx(np.square(shift).sum() + np.square(a - b).sum(), rel=0.02)


def images(
    rng: np.random.Generator, n: int = 120, t: int = 10, d: int = 8, scale: float = 1.0
) -> tuple[np.ndarray, ...]:
    return tuple((scale * rng.normal(size=(t, d))).astype(np.float32) for _ in range(n))


def test_tokens_that_are_distributed_as_words_lie_among_them() -> None:
    rng = np.random.default_rng(1)
    words = rng.normal(size=(3000, 8))
    columns, scores, noted = token_figures(TokenSample(images(rng), images(rng)), words)
    assert scores["text_norm_ratio"]["low"] < 1 < scores["text_norm_ratio"]["high"]
    assert scores["text_near"]["value"] == 1
    floor = scores["text_frechet_floor"]["value"]
    assert scores["text_frechet"]["value"] == pytest.approx(floor, rel=0.5)
    assert scores["text_frechet"]["high"] < 5 * floor
    assert noted == {"images": 120, "tokens": 1200, "words": 3000, "set": 1000}
    assert set(columns) == {"text_norm_ratio", "text_near"}


def test_tokens_of_another_length_are_far_from_words_by_as_much() -> None:
    """Thrice as long: the norms' ratio is 3, the distance `(3 - 1)^2` times the words' variance."""
    rng = np.random.default_rng(2)
    words = rng.normal(size=(4000, 8))
    _, scores, _ = token_figures(TokenSample(images(rng), images(rng, scale=3.0)), words)
    truth = 3 * stats.chi.mean(8) / np.linalg.norm(words, axis=1).mean()
    assert truth == pytest.approx(3, rel=0.02)
    assert scores["text_norm_ratio"]["value"] == pytest.approx(truth, rel=0.03)
    assert scores["text_norm_ratio"]["low"] < truth < scores["text_norm_ratio"]["high"]
    assert scores["text_frechet"]["value"] == pytest.approx(4, rel=0.1)
    assert (
        scores["text_frechet"]["low"] < scores["text_frechet"]["value"] < scores["text_frechet"]["high"] < 6
    )
    assert 0 < scores["text_near"]["value"] < 0.5


def test_nearest_words_by_all_distances() -> None:
    rng = np.random.default_rng(3)
    words, tokens = rng.normal(size=(500, 8)), images(rng, 40, 7, scale=2.2)
    known = KnownWords.of(words, 8)
    assert known is not None
    columns, _ = beside_the_words(tokens, known)
    near = cdist(np.concatenate(tokens), words).min(axis=1) < np.median(pdist(words))
    assert 0 < near.mean() < 1
    assert columns["text_near"] == pytest.approx(near.reshape(40, 7).mean(axis=1))


def test_effective_ranks_of_tokens() -> None:
    """Of a spectrum that is known: deviations 4, 2, 1 and a half. The interval is for other images."""
    rng = np.random.default_rng(4)
    deviations = np.array([4.0, 2.0, 1.0, 0.5])
    expected = float(np.exp(stats.entropy(deviations)))
    covered = []
    for _ in range(60):
        tokens = tuple(own * deviations.astype(np.float32) for own in images(rng, 120, 8, 4))
        _, scores, _ = token_figures(TokenSample(tokens, images(rng, 120, 8, 4)), None)
        found = scores["token_erank_pre"]
        covered.append(found["low"] < expected < found["high"])
    assert 0.85 <= np.mean(covered) <= 1
    assert found["value"] == pytest.approx(expected, rel=0.05)
    assert scores["token_erank_post"]["value"] == pytest.approx(4, rel=0.01)
    assert not [name for name in scores if name.startswith("text")]
    alike = tuple(np.repeat(own[:1], 8, axis=0) for own in tokens)
    _, fewer, _ = token_figures(TokenSample(alike, alike), None)
    widths = [one["token_erank_pre"]["high"] - one["token_erank_pre"]["low"] for one in (fewer, scores)]
    assert widths[0] == pytest.approx(widths[1] * 8**0.5, rel=0.35)


def test_untrained_copies_stand_beside_with_their_span() -> None:
    rng = np.random.default_rng(5)
    copies = tuple(images(rng, scale=scale) for scale in (0.5, 1.0, 2.0))
    columns, scores, _ = token_figures(
        TokenSample(images(rng), images(rng), copies), rng.normal(size=(900, 8))
    )
    ratio = scores["untrained_text_norm_ratio"]
    assert ratio["value"] == pytest.approx(3.5 / 3, rel=0.05)
    assert ratio["low"] < 0.51 < 1.96 < ratio["high"]
    assert ratio["seeds"] == sorted(ratio["seeds"])
    assert len(ratio["seeds"]) == 3
    assert columns["untrained_text_near"].shape == (120,)


def test_few_images_and_words_of_another_width() -> None:
    rng = np.random.default_rng(6)
    _, scores, _ = token_figures(TokenSample(images(rng, 15), images(rng, 15)), rng.normal(size=(900, 8)))
    for name in ("text_norm_ratio", "text_near", "text_frechet"):
        assert scores[name]["low"] is None
        assert scores[name]["method"] == "no interval: 15 images, 20 are needed"
    _, scores, noted = token_figures(TokenSample(images(rng), images(rng)), rng.normal(size=(900, 7)))
    assert not [name for name in scores if name.startswith("text")]
    assert noted == {"images": 120, "tokens": 1200}


def test_a_sample_depends_on_the_image_alone() -> None:
    places = sampled_places("a" * 64, 5, 49)
    assert (places == sampled_places("a" * 64, 5, 49)).all()
    assert len(set(places.tolist())) == 5
    assert (np.diff(places) > 0).all()
    assert list(sampled_places("b" * 64, 5, 3)) == [0, 1, 2]
    assert [tokens_of_each(n) for n in (1, 100, 1000, 0)] == [64, 20, 2, 64]
