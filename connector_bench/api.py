"""`measure`: the same figures as the task `knn_preservation`, without the harness."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.connectors import adapter_for_model, capture
from connector_bench.pictures import PictureFacts, as_rgb, picture_facts, reason
from connector_bench.preservation.figures import PreservationFigures
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.pooled import PooledPreservation
from connector_bench.preservation.retrieval import class_of
from connector_bench.run.all_ranks import most_common
from connector_bench.run.answers import left_out_line, picture_figures, run_summary
from connector_bench.run.documents import as_pictures
from connector_bench.run.passing import Passed
from connector_bench.run.running import UNTRAINED_SEEDS

if TYPE_CHECKING:
    from PIL.Image import Image


def measure(
    model: Any,
    processor: Any,
    images: Iterable[Image],
    *,
    options: PreservationOptions | None = None,
    labels: Sequence[object] | Mapping[str, Sequence[object]] | None = None,
    batch_size: int = 8,
) -> PreservationFigures:
    """k-NN preservation of a model's connector over pictures; vision tower and connector run, nothing else.

    The figures are those of the task `knn_preservation` on the same pictures, key for key, its controls with them.
    A picture that cannot be decoded, or that the model's processor refuses, is left out with a warning, as it is there.

    Args:
        model: a transformers model in evaluation mode, or a model of the zoo (`connector_bench.zoo.load`).
        processor: its processor; None for the zoo's models.
        images: pictures of any mode and size; identical ones count once, and a generator is read a few batches ahead,
            one more than the workers (`CONNECTOR_BENCH_WORKERS`) and the two that the model has.
        options: neighbourhood sizes, distance, pooling and tap.
        labels: a class for each picture, which adds retrieval; None, NaN and -1 are none. A mapping gives several
            columns of labels by their names.
        batch_size: pictures that pass the model together.

    Returns:
        Figures per image, keyed by the SHA-256 of its pixels (`pictures.picture_hash`), and the summary with an
        interval for every score; `unreadable` there names what was left out by its number among `images`.

    Raises:
        UnsupportedModel: the model has no connector that is known or can be found.
        ValueError: too few images for every k, no picture that can be measured, labels that are not one a picture, NaN
            or infinity in the features of more pictures than `capture.most_not_finite` allows.
    """
    adapter = adapter_for_model(model, processor)
    info = adapter.info
    without_untrained = adapter.add_untrained(UNTRAINED_SEEDS)
    columns = labels if isinstance(labels, Mapping) else {} if labels is None else {"label": labels}
    measured = PooledPreservation(options or PreservationOptions(), labels=tuple(columns))
    given, left_out, passed = _Given(), capture.LeftOut(), dict[str, Passed]()
    with closing(capture.stream(adapter, given.once(images), batch_size, left_out)) as batches:
        for batch in batches:
            measured.update(batch)
            passed |= Passed.of(batch)
    names = given.names
    for given_labels in columns.values():
        if len(given_labels) != len(names):
            raise ValueError(f"one label a picture: got {len(given_labels)} labels and {len(names)} pictures")
    capture.refuse_not_finite(left_out.not_finite, len(given.facts))
    refused = left_out.refused | left_out.not_finite
    without = given.unreadable | {i: refused[name] for i, name in enumerate(names) if name in refused}
    if without and not passed:
        raise ValueError(
            f"0 of {len(names)} pictures could be measured: {most_common(list(without.values()))}"
        )
    known: dict[str, dict[str, str]] = {name: {} for name in names if name}
    for column, given_labels in columns.items():
        for name, label in zip(names, map(class_of, given_labels), strict=True):
            if name and label is not None:
                known[name][column] = label
    figures = measured.finish(known)
    rows = {
        image: {**picture_figures(given.facts[image].entropy, passed[image]), **row}
        for image, row in figures.per_image.items()
    }
    summary = run_summary(list(passed.values()), without, len(names), not_finite=len(left_out.not_finite))
    said = list(figures.warnings)
    lines = [] if without_untrained is None else [f"untrained control left out: {without_untrained}"]
    if not info.knows_places:
        lines.append(f"places of tokens are {info.places}")
    if without:
        lines.append(left_out_line("picture", dict(sorted(without.items())), {}))
    for line in lines:
        warnings.warn(line, stacklevel=2)
    said += lines
    return replace(figures, per_image=rows, summary=figures.summary | summary, warnings=tuple(said))


class _Given:
    """The pictures that were given, each named as it comes."""

    def __init__(self) -> None:
        self.names: list[str | None] = []
        """None for a picture that could not be decoded."""
        self.facts: dict[str, PictureFacts] = {}
        self.unreadable: dict[int, str] = {}

    def once(self, images: Iterable[Image]) -> Iterator[tuple[str, Image]]:
        """Every different picture, as RGB."""
        from PIL import Image as pillow

        for number, image in enumerate(images):
            self.names.append(None)
            try:
                if not isinstance(image, (pillow.Image, np.ndarray)):
                    raise TypeError(f"a picture of Pillow or an array is needed, got {type(image).__name__}")
                (picture,) = as_pictures(image)
                rgb = as_rgb(picture)
                facts = picture_facts(rgb)
            except Exception as error:  # decoders raise whatever they like
                self.unreadable[number] = reason(error)
                continue
            self.names[number] = facts.name
            if facts.name not in self.facts:
                self.facts[facts.name] = facts
                yield facts.name, rgb
