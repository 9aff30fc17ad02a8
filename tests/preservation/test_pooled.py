"""From streamed pairs to figures: what is merged, what is refused, and what changes nothing."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from connector_bench.preservation.figures import PreservationFigures, metric_names, preservation_figures
from connector_bench.preservation.pooled import PooledPreservation, PooledVectors, merged
from connector_bench.protocol import PreservationOptions, preservation_options
from connector_bench.types import Tile, TokenLayout, TokenPair


def vectors(n: int = 60, seed: int = 0) -> PooledVectors:
    rng = np.random.default_rng(seed)
    pre = rng.normal(size=(n, 12)).astype(np.float32)
    post = (pre @ rng.normal(size=(12, 20)) + rng.normal(size=(n, 20))).astype(np.float32)
    return PooledVectors(tuple(f"image{i:03}" for i in range(n)), pre, post, (None,) * n)


def figures_of(v: PooledVectors, options: PreservationOptions | None = None) -> PreservationFigures:
    return preservation_figures(v.images, v.pre, v.post, options or PreservationOptions())


def taken(v: PooledVectors, rows: list[int]) -> PooledVectors:
    return PooledVectors(tuple(v.images[row] for row in rows), v.pre[rows], v.post[rows], (None,) * len(rows))


def by_scikit_learn(v: PooledVectors, k: int) -> dict[str, float]:
    """Overlap from an independent search; the image itself is dropped by its index."""
    lists = []
    for side in (v.pre, v.post):
        lists.append(
            NearestNeighbors(n_neighbors=k, algorithm="brute").fit(side).kneighbors(return_distance=False)
        )
    return {image: len(set(a) & set(b)) / k for image, a, b in zip(v.images, *lists, strict=True)}


def test_figures_equal_scikit_learn() -> None:
    v = vectors()
    figures = figures_of(v, PreservationOptions(ks=(1, 10)))
    for k in (1, 10):
        expected = by_scikit_learn(v, k)
        assert {image: row[f"knor_{k}"] for image, row in figures.per_image.items()} == pytest.approx(
            expected
        )


def test_ranks_order_and_repeats_change_nothing() -> None:
    v = vectors()
    rows = list(np.random.default_rng(1).permutation(60))
    parts = [taken(v, rows[:23]), taken(v, []), taken(v, rows[23:]), taken(v, rows[:5])]
    assert figures_of(merged(parts)) == figures_of(v)


def test_shuffled_pairs_are_at_chance() -> None:
    scores = figures_of(vectors(400)).summary["scores"]
    for k in (10, 50, 100):
        score = scores[f"shuffled_knor_{k}"]
        assert score["low"] <= k / 399 <= score["high"]


def test_what_loses_nothing_keeps_all() -> None:
    scores = figures_of(vectors(200)).summary["scores"]
    for k in (1, 10, 50, 100):
        assert scores[f"identity_knor_{k}"]["value"] == 1
        assert scores[f"rotation_knor_{k}"]["value"] == pytest.approx(1, abs=1e-3)


def test_every_figure_is_a_declared_metric() -> None:
    v = vectors(60)
    labels = ["a", "b", "c"] * 20
    options = PreservationOptions(ks=(1, 10))
    figures = preservation_figures(v.images, v.pre, v.post, options, labels, [v.post[::-1]])
    row = figures.per_image["image000"]
    assert set(row) == set(metric_names(PreservationOptions(ks=(1, 10))))


def test_protocol_paper_counts_the_image_itself() -> None:
    v = vectors(200)
    ours = figures_of(v, PreservationOptions(ks=(9,))).summary["scores"]["knor_9"]["value"]
    paper = figures_of(v, PreservationOptions(ks=(10,), protocol="paper")).summary["scores"]
    assert set(paper) == {"paper_knor_10"}
    assert paper["paper_knor_10"]["value"] == pytest.approx((1 + 9 * ours) / 10)


def test_a_k_too_large_is_left_out_and_none_left_is_an_error() -> None:
    figures = figures_of(vectors(20), PreservationOptions(ks=(10, 50)))
    assert figures.warnings == ("k = 50 left out: it needs at least 52 different images, got 20",)
    with pytest.raises(ValueError, match=r"k = 10 needs at least 12 different images, got 11"):
        figures_of(vectors(11), PreservationOptions(ks=(10,)))


def pair(pre: torch.Tensor, post: torch.Tensor) -> TokenPair:
    return TokenPair(pre, post, TokenLayout((Tile((2, 2), (2, 2)),), n_post=4))


@pytest.mark.parametrize(("side", "named"), [("pre", "connector's input"), ("post", "connector's output")])
def test_nan_is_refused_with_image_and_side(side: str, named: str) -> None:
    tokens = {"pre": torch.ones(4, 3), "post": torch.ones(4, 5)}
    tokens[side][2, 1] = float("nan")
    with pytest.raises(ValueError, match=rf"image abc.*{named}"):
        PooledPreservation(PreservationOptions()).update("abc", pair(**tokens))


def test_images_of_unequal_size_need_pooling() -> None:
    unpooled = PooledPreservation(PreservationOptions(pooling="none"))
    unpooled.update("a", pair(torch.ones(4, 3), torch.ones(4, 5)))
    with pytest.raises(ValueError, match="need pooling: mean"):
        unpooled.update("b", pair(torch.ones(2, 3), torch.ones(4, 5)))


def test_a_tap_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no leading norm"):
        PooledPreservation(PreservationOptions(tap="pre_normed")).update(
            "a", pair(torch.ones(4, 3), torch.ones(4, 5))
        )


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"distance": "l1"}, "l2, cosine"),
        ({"ks": [0]}, "at least 1"),
        ({"k": 5}, "allowed are ks"),
        ({"pooling": "max"}, "mean"),
        ({"tap": "middle"}, "pre_normed"),
        ({"protocol": "paper", "distance": "cosine"}, "paper is l2"),
    ],
)
def test_options_are_checked(given: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        preservation_options(given)
