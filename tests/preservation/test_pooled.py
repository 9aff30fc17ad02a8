"""From streamed pairs to figures: what is merged, what is refused, and what changes nothing."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from connector_bench import metrics
from connector_bench.pictures import draw_names
from connector_bench.preservation import knn, random_orders, searched_gallery
from connector_bench.preservation import side as side_module
from connector_bench.preservation.figures import PreservationFigures, metric_names, preservation_figures
from connector_bench.preservation.neighbours.ranking import read_rankings
from connector_bench.preservation.neighbours.search import neighbours
from connector_bench.preservation.options import PreservationOptions, preservation_options
from connector_bench.preservation.pooled import PooledPreservation
from connector_bench.preservation.pooled_vectors import PooledVectors, merge
from connector_bench.preservation.retrieval import class_of
from connector_bench.types import Tile, TokenBatch, TokenLayout, TokenPair

ONE_TOKEN = TokenLayout((Tile((1, 1), (1, 1)),), n_post=1)


def vectors(n: int = 60, seed: int = 0) -> PooledVectors:
    rng = np.random.default_rng(seed)
    pre = rng.normal(size=(n, 12)).astype(np.float32)
    post = (pre @ rng.normal(size=(12, 20)) + rng.normal(size=(n, 20))).astype(np.float32)
    return PooledVectors(tuple(f"image{i:03}" for i in range(n)), pre, post, (None,) * n)


def figures_of(v: PooledVectors, options: PreservationOptions | None = None) -> PreservationFigures:
    return preservation_figures(v.images, v.pre, v.post, options or PreservationOptions())


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
    parts = [v.take(rows[:23]), v.take([]), v.take(rows[23:]), v.take(rows[:5])]
    assert figures_of(merge(parts)) == figures_of(v)


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


def test_controls_of_unpooled_vectors_act_on_tokens() -> None:
    """A rotation of 5 x 3 numbers as one vector would need no tokens; one of each token keeps the tokens apart."""
    v = vectors(60)
    options = PreservationOptions(ks=(10,), pooling="none")
    whole, tokens = (
        preservation_figures(v.images, v.pre, v.post, options, token_widths=widths).summary["scores"]
        for widths in (None, (3, 5))
    )
    assert tokens["rotation_knor_10"]["value"] == whole["rotation_knor_10"]["value"] == 1
    # 4 tokens of 3 to 4 of 5 by one small matrix, against 12 to 20 by a large one
    assert tokens["random_linear_knor_10"]["value"] != whole["random_linear_knor_10"]["value"]


def test_every_figure_is_a_declared_metric() -> None:
    v = vectors(60)
    labels = ["a", "b", "c"] * 20
    options = PreservationOptions(ks=(1, 10))
    figures = preservation_figures(v.images, v.pre, v.post, options, {"label": labels}, [v.post[::-1]])
    row = figures.per_image["image000"]
    names = metric_names(PreservationOptions(ks=(1, 10)))
    not_here = {entry.name for entry in metrics.named(list(names)) if entry.family in ("gallery", "text")}
    assert set(row) == names.keys() - not_here  # which want more images, or the tokens themselves


def test_every_space_is_searched_once_and_ranked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With labels and controls: two sides, three controls, two untrained copies, shuffled pairs in each order."""
    searched: list[np.ndarray] = []
    ranked: list[np.ndarray] = []

    def search(vectors: np.ndarray, *arguments: object, **options: object) -> np.ndarray:
        searched.append(vectors)
        return neighbours(vectors, *arguments, **options)

    def rank(vectors: np.ndarray, *arguments: object, **options: object) -> tuple[np.ndarray, ...]:
        ranked.append(vectors)
        return read_rankings(vectors, *arguments, **options)

    for room in (side_module, searched_gallery, random_orders, knn):
        monkeypatch.setattr(room, "neighbours", search)
    monkeypatch.setattr(side_module, "read_rankings", rank)
    v = vectors(60)
    preservation_figures(
        v.images,
        v.pre,
        v.post,
        PreservationOptions(ks=(1, 10)),
        {"label": ["a", "b"] * 30},
        [v.post[::-1], v.post * 2],
    )
    assert len(searched) == 7 + random_orders.ORDERS
    assert len({vectors.tobytes() for vectors in searched}) == len(searched) - 1, (
        "the identity alone is searched again"
    )
    assert [len(vectors) for vectors in ranked] == [60, 60]


def test_protocol_paper_counts_the_image_itself() -> None:
    v = vectors(200)
    ours = figures_of(v, PreservationOptions(ks=(9,))).summary["scores"]["knor_9"]["value"]
    paper = figures_of(v, PreservationOptions(ks=(10,), protocol="paper")).summary["scores"]
    assert set(paper) == {"paper_knor_10"}
    assert paper["paper_knor_10"]["value"] == pytest.approx((1 + 9 * ours) / 10)


def test_a_k_too_large_is_left_out_and_none_left_is_an_error() -> None:
    figures = figures_of(vectors(20), PreservationOptions(ks=(10, 50)))
    assert figures.warnings == (
        "20 different images are too few for k = 50 (needs 52), trustworthiness and continuity (needs 21)",
    )
    with pytest.raises(ValueError, match=r"k = 10 needs at least 12 different images, got 11"):
        figures_of(vectors(11), PreservationOptions(ks=(10,)))


def streamed(v: PooledVectors, options: PreservationOptions) -> PreservationFigures:
    measured = PooledPreservation(options, labels=("label",))
    for name, pre, post in zip(v.images, v.pre, v.post, strict=True):
        measured.update(
            TokenBatch.of([name], [TokenPair(torch.tensor(pre)[None], torch.tensor(post)[None], ONE_TOKEN)])
        )
    return measured.finish({name: {"label": name[-1]} for name in v.images})


def test_a_gallery_of_fixed_size_is_drawn_by_the_images_alone() -> None:
    v = vectors(90)
    options = PreservationOptions(ks=(1, 10), gallery=40)
    figures = streamed(v, options)
    rows = [row for row, name in enumerate(v.images) if name in draw_names(v.images, 40)]
    alone = streamed(v.take(rows), PreservationOptions(ks=(1, 10)))
    shown = {name: row for name, row in figures.per_image.items() if "knor_10" in row}
    assert shown == alone.per_image
    assert {name: row for name, row in figures.per_image.items() if name not in shown} == {
        name: {"left_out": "not drawn into the gallery of 40 images"}
        for name in v.images
        if name not in shown
    }
    assert (figures.summary["n_images"], figures.summary["gallery_drawn_from"]) == (40, 90)
    assert figures.summary["images_sha256"] == alone.summary["images_sha256"]
    assert streamed(v.take(list(range(90))[::-1]), options) == figures


def test_a_gallery_larger_than_the_set_is_the_set() -> None:
    v = vectors(30)
    every = streamed(v, PreservationOptions(ks=(1, 10)))
    asked = streamed(v, PreservationOptions(ks=(1, 10), gallery=40))
    assert asked.warnings == ("a gallery of 40 was asked for, all 30 images were taken",)
    assert asked.per_image == every.per_image


@pytest.mark.parametrize("label", [None, "", " ", -1, -1.0, np.int64(-1), float("nan"), np.float32("nan")])
def test_what_data_sets_write_for_no_label_is_none(label: object) -> None:
    assert class_of(label) is None
    v = vectors(30)
    labels = ["a", "b", label] * 10
    figures = preservation_figures(
        v.images, v.pre, v.post, PreservationOptions(ks=(1, 10)), {"label": labels}
    )
    assert figures.per_image == figures_of(v, PreservationOptions(ks=(1, 10))).per_image
    assert figures.warnings == (
        "no recall and map: retrieval needs a label of every image, 10 of 30 have none",
    )


@pytest.mark.parametrize("label", ["None", "nan", "-1", 0, False])
def test_whatever_else_is_a_class(label: object) -> None:
    assert class_of(label) == str(label)


def test_the_draw_knows_no_order_and_grows_with_its_size() -> None:
    names = [f"image{i}" for i in range(100)]
    assert draw_names(names, 30) == draw_names(names[::-1], 30) < draw_names(names, 31)
    assert draw_names(names, 30) != draw_names(names, 30, seed=1)
    with pytest.raises(ValueError, match="gallery of 101 needs as many different images, got 100"):
        draw_names([*names, *names], 101)


def pair(pre: torch.Tensor, post: torch.Tensor) -> TokenPair:
    return TokenPair(pre, post, TokenLayout((Tile((2, 2), (2, 2)),), n_post=4))


@pytest.mark.parametrize(("side", "named"), [("pre", "connector's input"), ("post", "connector's output")])
def test_nan_is_refused_with_image_and_side(side: str, named: str) -> None:
    tokens = {"pre": torch.ones(4, 3), "post": torch.ones(4, 5)}
    tokens[side][2, 1] = float("nan")
    with pytest.raises(ValueError, match=rf"image abc.*{named}"):
        PooledPreservation(PreservationOptions()).update(TokenBatch.of(["abc"], [pair(**tokens)]))


def test_images_of_unequal_size_need_pooling() -> None:
    unpooled = PooledPreservation(PreservationOptions(pooling="none"))
    unpooled.update(TokenBatch.of(["a"], [pair(torch.ones(4, 3), torch.ones(4, 5))]))
    with pytest.raises(ValueError, match="need pooling: mean"):
        unpooled.update(TokenBatch.of(["b"], [pair(torch.ones(2, 3), torch.ones(4, 5))]))


def test_a_tap_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no leading norm"):
        PooledPreservation(PreservationOptions(tap="pre_normed")).update(
            TokenBatch.of(["a"], [pair(torch.ones(4, 3), torch.ones(4, 5))])
        )


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"distance": "l1"}, "l2, cosine"),
        ({"ks": [0]}, "at least 1"),
        ({"k": 5}, "allowed are ks"),
        ({"pooling": "max"}, "mean"),
        ({"tap": "middle"}, "pre_normed"),
        ({"protocol": "paper", "pooling": "none"}, "paper pools by the mean, got none"),
        ({"gallery": 11, "ks": [10]}, r"at least 12 \(k \+ 2\), got 11"),
        ({"gallery": "all"}, "got 'all'"),
    ],
)
def test_options_are_checked(given: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        preservation_options(given)
