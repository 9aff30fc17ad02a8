"""Made pictures as rows of ``datasets`` on disk, written once and read from there."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from PIL import Image

from connector_bench.zoo.cache import new_folder

if TYPE_CHECKING:
    import datasets

FILE = "scenes.arrow"


def png(pixels: NDArray[Any]) -> bytes:
    """A picture as the bytes of a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=4)
    return stream.getvalue()


def stored_rows(
    folder: Path, features: datasets.Features, rows: Iterable[dict[str, Any]]
) -> datasets.Dataset:
    """The rows that ``folder`` holds; where it is not there yet, ``rows`` are made and written first.

    Raises:
        OSError: the folder cannot be written.
    """
    from datasets import Dataset
    from datasets.arrow_writer import ArrowWriter

    if not folder.is_dir():
        with new_folder(folder) as unfinished:
            path = str(unfinished / FILE)
            with ArrowWriter(path=path, features=features, writer_batch_size=100) as writer:
                for row in rows:
                    writer.write(row)
                writer.finalize()
    return Dataset.from_file(str(folder / FILE))
