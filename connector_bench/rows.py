"""Rows of a data set that have a picture each, as documents of the measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connector_bench.documents import Document
from connector_bench.pictures import encoded_picture

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class PictureRows:
    """A `datasets.Dataset` and how a row's pictures are had from it."""

    rows: Any
    to_visual: Callable[[Any], Any]
    source: str
    """Tells data sets apart: the same number in the same source is the same picture."""

    def picture(self, number: int) -> Image:
        """A row's first picture. ValueError where it has none."""
        from PIL import Image

        visuals = self.to_visual(self.rows[number])
        if not visuals or not isinstance(visuals[0], Image.Image):
            raise ValueError(f"the document has no picture: doc_to_visual gave {visuals!r:.80}")
        return visuals[0]

    def document(
        self, task: str, number: int, label: str | None = None, left_out: str | None = None
    ) -> Document:
        """Where the measurement finds this row's picture."""
        return Document(
            task,
            number,
            self.source,
            lambda: self.picture(number),
            label,
            lambda: encoded_picture(self.rows, number, self.to_visual),
            left_out,
        )

    def spread(self, most: int | None) -> list[int]:
        """Numbers of at most so many rows, evenly spread over all of them."""
        total = len(self.rows)
        count = min(total, most or total)
        return [number * total // count for number in range(count)]
