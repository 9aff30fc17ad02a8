"""Names and statistics of pictures, and one look at each however many documents show it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from PIL.Image import Image

READS = "reads_column"


def picture_hash(picture: Image) -> str:
    """SHA-256 of a picture's size and RGB pixels: the same picture has the same name in every data set."""
    rgb = picture.convert("RGB")
    return hashlib.sha256(f"{rgb.width}x{rgb.height}".encode() + rgb.tobytes()).hexdigest()


def images_fingerprint(images: Iterable[str]) -> str:
    """One hash for a set of images, whatever their order: figures of other sets must not be compared."""
    return hashlib.sha256("\n".join(sorted(images)).encode()).hexdigest()


@dataclass(frozen=True)
class PictureFacts:
    """What is known of a picture without any model."""

    name: str
    """`picture_hash`."""
    entropy: float
    """Shannon entropy of its histogram of greys, in bits: 0 for one grey, 8 for all of them equally."""


class PictureReader:
    """Facts about documents' pictures; a picture whose encoded file was met before is not decoded again."""

    def __init__(self) -> None:
        self._known: dict[bytes, PictureFacts] = {}

    def facts(
        self, load: Callable[[], Image], encoded: Callable[[], bytes | None] | None = None
    ) -> PictureFacts:
        """Facts about the picture that `load` decodes.

        `encoded` gives the bytes that `load` decodes and nothing else, so that equal bytes are equal pictures; None
        where there are none. Raises what `load` raises.
        """
        content = encoded() if encoded is not None else None
        if content is None:
            return _facts(load())
        key = hashlib.sha256(content).digest()
        if key not in self._known:
            self._known[key] = _facts(load())
        return self._known[key]


F = TypeVar("F", bound=Callable[..., Any])


def reads_column(column: str) -> Callable[[F], F]:
    """Declare of a `doc_to_visual` that it gives the picture in this column of a document, and nothing else."""

    def declared(to_visual: F) -> F:
        setattr(to_visual, READS, column)
        return to_visual

    return declared


def encoded_picture(rows: Any, number: int, to_visual: Callable[..., Any]) -> bytes | None:
    """The encoded file behind what `to_visual` gives for this row of a `datasets.Dataset`, without decoding it.

    None where `to_visual` does not declare its column, or the column holds no file.
    """
    column = getattr(to_visual, READS, None)
    if column is None:
        return None
    stored = rows.with_format("arrow")[number].column(column)[0].as_py()
    return stored.get("bytes") if isinstance(stored, dict) else None


def _facts(picture: Image) -> PictureFacts:
    return PictureFacts(picture_hash(picture), float(picture.convert("L").entropy()))
