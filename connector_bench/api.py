"""`measure`: the same figures as the task `knn_preservation`, without the harness."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from connector_bench import capture
from connector_bench.connectors import adapter_for_model
from connector_bench.preservation.figures import PreservationFigures
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.pooled import PooledPreservation
from connector_bench.run.measurement import picture_hash

if TYPE_CHECKING:
    from PIL.Image import Image


def measure(
    model: Any,
    processor: Any,
    images: Iterable[Image],
    *,
    options: PreservationOptions | None = None,
    labels: Sequence[str] | None = None,
    batch_size: int = 8,
) -> PreservationFigures:
    """k-NN preservation of a model's connector over pictures; vision tower and connector run, nothing else.

    Args:
        model: a transformers model in evaluation mode, or a model of the zoo (`connector_bench.zoo.load`).
        processor: its processor; None for the zoo's models.
        images: pictures of any mode and size; identical ones count once, and a generator is read batch by batch.
        options: neighbourhood sizes, distance, pooling and tap.
        labels: a class for each picture, which adds retrieval.
        batch_size: pictures that pass the model together.

    Returns:
        Figures per image, keyed by the SHA-256 of its pixels (`measurement.picture_hash`), and the summary with an
        interval for every score.

    Raises:
        UnsupportedModel: the model has no connector that is known or can be found.
        ValueError: too few images for every k, labels that are not one a picture, NaN or infinity in the features.
    """
    adapter = adapter_for_model(model, processor)
    measured = PooledPreservation(options or PreservationOptions())
    order: list[str] = []
    for name, pair in capture.stream(adapter, _once(images, order), batch_size):
        measured.update(name, pair)
    if labels is not None and len(labels) != len(order):
        raise ValueError(f"one label a picture: got {len(labels)} labels and {len(order)} pictures")
    return measured.finish(dict(zip(order, labels, strict=True)) if labels is not None else None)


def _once(images: Iterable[Image], order: list[str]) -> Iterator[tuple[str, Image]]:
    known: set[str] = set()
    for image in images:
        rgb = image.convert("RGB")
        name = picture_hash(rgb)
        order.append(name)
        if name not in known:
            known.add(name)
            yield name, rgb
