"""`knn_preservation` over a stream of images: one vector per image and side, gathered and merged across processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from connector_bench.not_finite import POST, PRE, UNTRAINED, not_finite
from connector_bench.pictures import draw_names, for_controls
from connector_bench.preservation.figures import PreservationFigures, SampledTokens, preservation_figures
from connector_bench.preservation.neighbour_lists import COLUMNS, NeighbourLists
from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.pooled_vectors import PooledVectors, draw_gallery, merge
from connector_bench.preservation.reference import AskedOf, ReferenceSpace, ReferenceVectors
from connector_bench.preservation.text_side import WORDS, WordsOf, sample_of, sampled_places, tokens_of_each
from connector_bench.processes import on_first_rank
from connector_bench.progress import doing
from connector_bench.protocol import CONTROL_TEST_IMAGES
from connector_bench.types import means_by_image

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from connector_bench.types import TokenBatch
else:
    Tensor = object


class PooledPreservation:
    """Gathers mean-pooled vectors image by image; `finish` merges all ranks and finds the overlaps.

    With a folder the nearest images of every image are left there; `labels` are the columns in which images should have
    labels, `captions` the one of their captions, so that a warning is due where one has none. Neighbourhoods are held
    against a `reference`, to which `picture_of` gives any document's picture, and some tokens against the words that
    `words_of` gives.
    """

    def __init__(
        self,
        options: PreservationOptions,
        folder: Path | None = None,
        *,
        labels: Sequence[str] = (),
        captions: str | None = None,
        reference: ReferenceSpace | None = None,
        picture_of: Callable[[int], Image] | None = None,
        words_of: WordsOf | None = None,
    ) -> None:
        self.options, self.folder, self.labels, self.captions = options, folder, labels, captions
        self._reference, self._picture_of, self._words_of = reference, picture_of, words_of
        self._of_each = 0
        self._tokens: dict[str, tuple[np.ndarray, ...]] = {}
        self.device = "cpu"
        """Where the tokens were, and so where their vectors are searched unless the options say otherwise."""
        self._documents: Mapping[str, Sequence[int]] = {}
        self._controlled: set[str] = set()
        self._images: list[str] = []
        self._pre: list[Float[np.ndarray, " d_pre"]] = []
        self._post: list[Float[np.ndarray, " d_post"]] = []
        self._untrained: list[list[Float[np.ndarray, " d_post"]]] = []
        self._widths: tuple[int, int] | None = None

    def begin(self, documents: Mapping[str, Sequence[int]]) -> None:
        """Say which documents show which image: all images that there are, whichever process passes them."""
        self._documents = documents
        if self.options.protocol != "paper":
            names: Collection[str] = documents.keys()
            if self.options.gallery is not None and len(names) > self.options.gallery:
                names = draw_names(names, self.options.gallery, self.options.seed)
            self._controlled = for_controls(names, CONTROL_TEST_IMAGES)
            self._of_each = tokens_of_each(len(self._controlled))

    def wants(self, image: str) -> bool:
        """Every image."""
        return True

    def wants_untrained(self, image: str) -> bool:
        """Whether the untrained control is measured on this image; it is on `CONTROL_TEST_IMAGES` at most."""
        return image in self._controlled

    def update(self, batch: TokenBatch) -> None:
        """Take in some images.

        Raises:
            ValueError: NaN or infinity in the features, naming image and side; a tap that is not there; images of
                different numbers of tokens without pooling.
        """
        pre = batch.pre_normed if self.options.tap == "pre_normed" else batch.pre
        if pre is None:
            raise ValueError(
                "tap pre_normed was asked for, but this connector has no leading norm; use tap pre"
            )
        sides = self._vectors_of(
            (pre, batch.pre_rows), *((tokens, batch.post_rows) for tokens in (batch.post, *batch.untrained))
        )
        named = [(PRE, pre), (POST, batch.post), *((UNTRAINED, copy) for copy in batch.untrained)]
        for number, image in enumerate(batch.images):
            vectors = [_finite(side[number], image, *of) for side, of in zip(sides, named, strict=True)]
            for kept, vector in zip((self._pre, self._post), vectors, strict=False):
                if kept and len(kept[0]) != len(vector):
                    raise ValueError(
                        f"image {image[:12]} has {len(vector)} values a side, the first had {len(kept[0])}: images "
                        "of different numbers of tokens need pooling: mean"
                    )
                kept.append(vector)
            self._images.append(image)
            self._untrained.append(vectors[2:])
        self._widths = (pre.shape[1], batch.post.shape[1])
        self._sample(batch, pre)
        self.device = str(batch.post.device) if batch.post.is_cuda else "cpu"

    def _sample(self, batch: TokenBatch, pre: Float[Tensor, "rows_pre d"]) -> None:
        """Keep a few tokens of each image that controls are measured on, those of all sides at the same places."""
        import torch

        wanted = [place for place, image in enumerate(batch.images) if image in self._controlled]
        if not wanted:
            return
        sides = [(pre, batch.pre_rows), *((side, batch.post_rows) for side in (batch.post, *batch.untrained))]
        kept = []
        for tokens, rows in sides:
            chosen = [
                rows[place].start
                + sampled_places(batch.images[place], self._of_each, rows[place].stop - rows[place].start)
                for place in wanted
            ]
            index = torch.from_numpy(np.concatenate(chosen)).to(tokens.device)
            together = tokens.index_select(0, index).float().cpu().numpy()
            kept.append(np.split(together, np.cumsum([len(own) for own in chosen])[:-1]))
        self._tokens |= {
            batch.images[place]: tuple(side[number] for side in kept) for number, place in enumerate(wanted)
        }

    def finish(self, labels: Mapping[str, Mapping[str, str]] | None = None) -> PreservationFigures:
        """Figures over the images of all ranks, the same on every rank; `labels` are those of this rank's images, and
        their captions, by column."""

        def combine(parts: list[PooledVectors]) -> PreservationFigures:
            whole = merge(parts)
            gallery = draw_gallery(whole, self.options)
            reference, without = self._against(gallery)
            rows, sample = sample_of(gallery.images, whole.tokens)
            words = None if self._words_of is None else self._words_of(WORDS, self.options.seed)
            figures = preservation_figures(
                gallery.images,
                gallery.pre,
                gallery.post,
                self.options,
                {column: [given.get(column) for given in gallery.labels] for column in self.labels},
                gallery.untrained,
                gallery.token_widths,
                untrained_rows=gallery.untrained_rows,
                captions=None
                if self.captions is None
                else [given.get(self.captions) for given in gallery.labels],
                reference=reference,
                tokens=None if sample is None else SampledTokens(rows, sample, words),
                device=self.device if self.options.device == "auto" else self.options.device,
            )
            figures = replace(figures, warnings=(*figures.warnings, *without))
            size = self.options.gallery
            if size is not None and len(gallery.images) < size:
                few = f"a gallery of {size} was asked for, all {len(gallery.images)} images were taken"
                figures = replace(figures, warnings=(few, *figures.warnings))
            return self._left_behind(note_left_out(figures, whole.images), gallery.images)

        return on_first_rank(combine, self._vectors(labels or {}), doing)

    def _against(self, gallery: PooledVectors) -> tuple[ReferenceVectors | None, tuple[str, ...]]:
        """The reference's vectors of these images, or why there are none: no other figure is lost for it."""
        if self._reference is None or self.options.protocol == "paper":
            return None, ()
        numbers = [self._documents[image][0] for image in gallery.images]
        asked = AskedOf(gallery.images, numbers, gallery.labels, self._picture_of, self.device)
        try:
            found = self._reference.reference(asked)
            if len(found) != len(gallery.images):
                raise ValueError(f"{len(found)} vectors of {len(gallery.images)} images")
            return found, ()
        except Exception as error:  # a picture that is gone, or whatever an encoder stumbles over
            return None, (f"no gain against {self._reference.name}: {error}",)

    def _left_behind(self, figures: PreservationFigures, images: Sequence[str]) -> PreservationFigures:
        """Leave the neighbours in the folder; figures are not lost where the disk is full."""
        lists, figures = figures.lists, replace(figures, lists=None)
        if self.folder is None or lists is None:
            return figures
        documents = tuple(self._documents[image][0] for image in images)
        sides = (side[:, :COLUMNS] for side in lists)
        try:
            NeighbourLists(tuple(images), documents, *sides).save(self.folder)
        except OSError as error:
            warning = f"{error}; neighbour plates cannot be drawn of this run"
            return replace(figures, warnings=(*figures.warnings, warning))
        named = f"{self.folder.parent.name}/{self.folder.name}"
        return replace(figures, summary={**figures.summary, "artefacts": named})

    def _vectors_of(
        self, *sides: tuple[Float[Tensor, "rows d"], Sequence[slice]]
    ) -> list[Sequence[Float[np.ndarray, " d"]]]:
        """One vector an image on every side, rounded to float32: what crosses from the model's device, at once."""
        if self.options.pooling == "mean":
            pooled = [means_by_image(tokens, rows).float() for tokens, rows in sides]
            return [list(one) for one in to_numpy(pooled)]
        flat = [tokens.float().cpu().numpy() for tokens, _ in sides]
        return [[one[part].reshape(-1) for part in rows] for one, (_, rows) in zip(flat, sides, strict=True)]

    def _vectors(self, labels: Mapping[str, Mapping[str, str]]) -> PooledVectors:
        if not self._images:
            return PooledVectors((), np.empty((0, 0), np.float32), np.empty((0, 0), np.float32), ())
        named = tuple(labels.get(image, {}) for image in self._images)
        held = [row for row, versions in enumerate(self._untrained) if versions]
        untrained = tuple(
            np.stack(side) for side in zip(*(self._untrained[row] for row in held), strict=True)
        )
        return PooledVectors(
            tuple(self._images),
            np.stack(self._pre),
            np.stack(self._post),
            named,
            untrained,
            self._widths,
            np.array(held, dtype=np.intp),
            self._tokens,
        )


def to_numpy(tables: Sequence[Float[Tensor, "images _"]]) -> list[Float[np.ndarray, "images _"]]:
    """Tables of as many rows, which the host waits for once where they lie on one device."""
    import torch

    if len({table.device for table in tables}) > 1:  # a model that is spread over devices
        return [table.cpu().numpy() for table in tables]
    ends = np.cumsum([table.shape[1] for table in tables])[:-1]
    return np.split(torch.cat(list(tables), dim=1).cpu().numpy(), ends, axis=1)


def _finite(
    vector: Float[np.ndarray, " d"], image: str, side: str, tokens: Tensor
) -> Float[np.ndarray, " d"]:
    if not np.isfinite(vector).all():
        raise ValueError(not_finite(image, side, tokens.dtype))
    return vector


def note_left_out(figures: PreservationFigures, images: Sequence[str]) -> PreservationFigures:
    """The figures of a gallery, and a note for each image of the set that was not drawn into it."""
    note = f"not drawn into the gallery of {len(figures.per_image)} images"
    notes = {image: {"left_out": note} for image in images if image not in figures.per_image}
    summary = {**figures.summary, "gallery_drawn_from": len(images)} if notes else figures.summary
    return replace(figures, per_image={**figures.per_image, **notes}, summary=summary)
