"""`knn_preservation` over a stream of images: one vector an image and side, gathered and merged across processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from connector_bench.exchange import on_first_rank
from connector_bench.preservation.figures import PreservationFigures, preservation_figures
from connector_bench.preservation.gallery import draw
from connector_bench.protocol import PreservationOptions

if TYPE_CHECKING:
    from connector_bench.types import TokenPair


@dataclass(frozen=True)
class PooledVectors:
    """One vector per image on each side of the connector, and its label where images have one."""

    images: tuple[str, ...]
    pre: Float[np.ndarray, "n d_pre"]
    post: Float[np.ndarray, "n d_post"]
    labels: tuple[str | None, ...]
    untrained: tuple[Float[np.ndarray, "n d_post"], ...] = ()
    """The connector's side from untrained copies of it, one array a seed."""


class PooledPreservation:
    """Gathers mean-pooled vectors image by image; `finish` merges all ranks and finds the overlaps."""

    def __init__(self, options: PreservationOptions) -> None:
        self.options = options
        self._images: list[str] = []
        self._pre: list[Float[np.ndarray, " d_pre"]] = []
        self._post: list[Float[np.ndarray, " d_post"]] = []
        self._untrained: list[list[Float[np.ndarray, " d_post"]]] = []

    def begin(self, documents: Mapping[str, Sequence[int]]) -> None:
        """Nothing has to be known beforehand."""

    def wants(self, image: str) -> bool:
        """Every image."""
        return True

    def update(self, image: str, pair: TokenPair) -> None:
        """Take in one image.

        Raises:
            ValueError: NaN or infinity in the features, naming image and side; a tap that is not there; images of
                different numbers of tokens without pooling.
        """
        pre = pair.pre_normed if self.options.tap == "pre_normed" else pair.pre
        if pre is None:
            raise ValueError(
                "tap pre_normed was asked for, but this connector has no leading norm; use tap pre"
            )
        vectors = (
            self._vector(pre.numpy(), image, "pre (the connector's input)"),
            self._vector(pair.post.numpy(), image, "post (the connector's output)"),
        )
        for kept, vector in zip((self._pre, self._post), vectors, strict=True):
            if kept and len(kept[0]) != len(vector):
                raise ValueError(
                    f"image {image[:12]} has {len(vector)} values a side, the first had {len(kept[0])}: images of "
                    "different numbers of tokens need pooling: mean"
                )
            kept.append(vector)
        self._images.append(image)
        self._untrained.append(
            [self._vector(tokens.numpy(), image, "an untrained copy's output") for tokens in pair.untrained]
        )

    def finish(self, labels: dict[str, str] | None = None) -> PreservationFigures:
        """Figures over the images of all ranks, the same on every rank; `labels` are those of this rank's images."""

        def combine(parts: list[PooledVectors]) -> PreservationFigures:
            whole = merged(parts)
            gallery = drawn(whole, self.options)
            figures = preservation_figures(
                gallery.images,
                gallery.pre,
                gallery.post,
                self.options,
                known_labels(gallery),
                gallery.untrained,
            )
            return with_left_out(figures, whole.images)

        return on_first_rank(combine, self._vectors(labels or {}))

    def _vector(self, tokens: Float[np.ndarray, "n d"], image: str, side: str) -> Float[np.ndarray, " d"]:
        pooled = (
            tokens.mean(axis=0, dtype=np.float64) if self.options.pooling == "mean" else tokens.reshape(-1)
        )
        if not np.isfinite(pooled).all():
            raise ValueError(
                f"features of image {image[:12]} at {side} hold NaN or infinity; "
                "half precision may have overflowed: load the model in float32 or bfloat16"
            )
        return pooled.astype(np.float32)

    def _vectors(self, labels: dict[str, str]) -> PooledVectors:
        if not self._images:
            return PooledVectors((), np.empty((0, 0), np.float32), np.empty((0, 0), np.float32), ())
        named = tuple(labels.get(image) for image in self._images)
        untrained = tuple(np.stack(side) for side in zip(*self._untrained, strict=True))
        return PooledVectors(tuple(self._images), np.stack(self._pre), np.stack(self._post), named, untrained)


def merged(parts: Sequence[PooledVectors]) -> PooledVectors:
    """All ranks' vectors with every image once, sorted by image, so that no figure depends on who held what."""
    filled = [part for part in parts if part.images]
    if not filled:
        return parts[0]
    names = np.array([name for part in filled for name in part.images])
    labels = [label for part in filled for label in part.labels]
    _, first = np.unique(names, return_index=True)
    pre, post = (np.concatenate([getattr(part, side) for part in filled])[first] for side in ("pre", "post"))
    copies = zip(*(part.untrained for part in filled), strict=True)
    untrained = tuple(np.concatenate(sides)[first] for sides in copies)
    return PooledVectors(
        tuple(names[first].tolist()), pre, post, tuple(labels[row] for row in first), untrained
    )


def drawn(whole: PooledVectors, options: PreservationOptions) -> PooledVectors:
    """The images of the gallery that the options ask for. Raises ValueError where there are fewer."""
    if options.gallery is None:
        return whole
    names = draw(whole.images, options.gallery, options.seed)
    rows = [row for row, name in enumerate(whole.images) if name in names]
    return PooledVectors(
        tuple(whole.images[row] for row in rows),
        whole.pre[rows],
        whole.post[rows],
        tuple(whole.labels[row] for row in rows),
        tuple(side[rows] for side in whole.untrained),
    )


def with_left_out(figures: PreservationFigures, images: Sequence[str]) -> PreservationFigures:
    """The figures of a gallery, and a note for each image of the set that was not drawn into it."""
    note = f"not drawn into the gallery of {len(figures.per_image)} images"
    notes = {image: {"left_out": note} for image in images if image not in figures.per_image}
    summary = {**figures.summary, "gallery_drawn_from": len(images)} if notes else figures.summary
    return replace(figures, per_image={**figures.per_image, **notes}, summary=summary)


def known_labels(vectors: PooledVectors) -> list[str] | None:
    """The labels, where every image has one."""
    found = [label for label in vectors.labels if label is not None]
    return found if found and len(found) == len(vectors.images) else None
