"""The figures without the harness."""

import numpy as np
import pytest
from PIL import Image

import connector_bench
from connector_bench import zoo
from connector_bench.preservation.options import PreservationOptions
from connector_bench.run.measurement import picture_hash


def pictures(n: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)) for _ in range(n)]


def test_measure_a_model_of_the_zoo() -> None:
    images = pictures(14)
    options = PreservationOptions(ks=(1, 5))
    figures = connector_bench.measure(zoo.load("identity"), None, [*images, images[3]], options=options)
    assert set(figures.per_image) == {picture_hash(image) for image in images}
    assert figures.summary["scores"]["knor_5"]["value"] == 1


def test_batches_and_order_change_no_overlap() -> None:
    images, options = pictures(20), PreservationOptions(ks=(1, 5))
    model = zoo.load("mlp")
    one, other = (
        connector_bench.measure(model, None, given, options=options, batch_size=size).per_image
        for given, size in ((images, 20), (images[::-1], 3))
    )
    for image, row in one.items():
        assert {k: row[k] for k in ("knor_1", "knor_5")} == {k: other[image][k] for k in ("knor_1", "knor_5")}


def test_labels_add_retrieval_and_must_fit() -> None:
    images, model = pictures(12), zoo.load("identity")
    options = PreservationOptions(ks=(1, 5))
    figures = connector_bench.measure(model, None, images, options=options, labels=["a", "b"] * 6)
    scores = figures.summary["scores"]
    assert scores["recall_pre_5"]["value"] == scores["recall_post_5"]["value"]
    with pytest.raises(ValueError, match="got 3 labels and 12 pictures"):
        connector_bench.measure(model, None, images, options=options, labels=["a", "b", "c"])


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="it offers"):
        _ = connector_bench.knn_preservations
