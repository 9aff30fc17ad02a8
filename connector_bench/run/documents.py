"""Where a task's documents have their pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.pictures import (
    KNOWS,
    PictureFacts,
    as_rgb,
    encoded_picture,
    file_of_picture,
    strict_decoding,
    without_folders,
)

if TYPE_CHECKING:
    from PIL.Image import Image


class NoPicture(ValueError):
    """A document has no picture; the message says what it has instead."""


@dataclass(frozen=True)
class Document:
    """One document of a task: where its picture comes from."""

    task: str
    doc_id: int
    source: str
    """Documents of one source and one `doc_id` hold the same picture, so it is looked at once."""
    shown: Callable[[], tuple[Image, int]]
    """Its first picture as RGB, and how many it has."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the data set says of its picture, by column: labels, or captions."""
    encoded: Callable[[], bytes | None] | None = None
    """The bytes that `shown` decodes, where it does nothing else."""
    left_out: str | None = None
    """Why its picture is not measured; None where it is."""
    file: Callable[[], str | None] | None = None
    """Name of the picture's file, where there is one."""
    rows: PictureRows | None = None
    """What `shown`, `encoded` and `file` read, where they share it with other documents."""
    facts: Callable[[], PictureFacts] | None = None
    """What is known of its picture already, where it need not be read."""

    def load(self) -> Image:
        """Its first picture as RGB. Raises whatever stands against it."""
        return self.shown()[0]

    def file_name(self) -> str | None:
        """Name of its picture's file, where there is one."""
        try:
            return self.file() if self.file is not None else None
        except Exception:  # what stands against the picture may stand against its name
            return None


@dataclass(frozen=True)
class PictureRows:
    """A `datasets.Dataset` and how a row's pictures are had from it."""

    rows: Any
    to_visual: Callable[[Any], Any]
    source: str
    """Tells data sets apart: the same number in the same source is the same picture."""

    def shown(self, number: int) -> tuple[Image, int]:
        """A row's first picture as RGB, and how many it has.

        Raises NoPicture where it has none, and what decoding, `to_visual` and `as_rgb` raise.
        """
        with strict_decoding():
            pictures = as_pictures(self.to_visual(self.rows[number]))
            return as_rgb(pictures[0]), len(pictures)

    @cached_property
    def _stored(self) -> Any:
        """The rows as they are stored, made once: a view of them takes half a millisecond."""
        return self.rows.with_format("arrow") if hasattr(self.rows, "with_format") else self.rows

    def picture(self, number: int) -> Image:
        """A row's first picture as RGB. Raises what `shown` raises."""
        return self.shown(number)[0]

    def encoded(self, number: int) -> bytes | None:
        """The bytes that `shown` decodes and nothing else, None where there are none such."""
        return encoded_picture(self._stored, number, self.to_visual)

    def file(self, number: int) -> str | None:
        """Name of the file of a row's picture, where there is one."""
        return file_of_picture(self._stored, number, self.to_visual)

    def facts(self, number: int) -> PictureFacts:
        """What the task's `doc_to_visual` knows of a row's picture without reading it."""
        known: PictureFacts = getattr(self.to_visual, KNOWS)(self.rows[number])
        return known

    def document(
        self,
        task: str,
        number: int,
        labels: Mapping[str, str] | None = None,
        left_out: str | None = None,
    ) -> Document:
        """Where the measurement finds this row's picture."""
        return Document(
            task,
            number,
            self.source,
            partial(self.shown, number),
            labels or {},
            partial(self.encoded, number),
            left_out,
            partial(self.file, number),
            self,
            partial(self.facts, number) if hasattr(self.to_visual, KNOWS) else None,
        )

    def spread(self, most: int | None) -> list[int]:
        """Numbers of at most so many rows, evenly spread over all of them."""
        total = len(self.rows)
        count = min(total, most or total)
        return [number * total // count for number in range(count)]


def as_pictures(visuals: Any) -> list[Image]:
    """What a `doc_to_visual` gave, as a list of pictures: a single one is a list of one, arrays are pictures.

    NoPicture where there is none, or something else among them.
    """
    from PIL import Image

    given = list(visuals) if isinstance(visuals, (list, tuple)) else [visuals]
    pictures = [Image.fromarray(one) if isinstance(one, np.ndarray) else one for one in given]
    if not pictures or not all(isinstance(one, Image.Image) for one in pictures):
        raise NoPicture(f"doc_to_visual gave {without_folders(repr(visuals)):.80}")
    return pictures


def first_of(shown: Callable[[], tuple[Image, int]]) -> Image:
    """The picture that a document shows."""
    return shown()[0]
