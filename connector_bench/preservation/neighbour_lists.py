"""The nearest images of every image on both sides, as a run leaves them for neighbour plates to be drawn later."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from connector_bench.atomic_files import make_folder, remove_leftovers, write_atomically
from connector_bench.foreign_files import MOST_BYTES, file_inside
from connector_bench.preservation.overlap import overlap

FILE = "nearest.npz"
COLUMNS = 10
"""Neighbours that are kept of each image and side."""


@dataclass(frozen=True, eq=False)
class NeighbourLists:
    """Neighbours by their row among the images, nearest first."""

    images: tuple[str, ...]
    """SHA-256 of each image's pixels."""
    documents: tuple[int, ...]
    """The first document that shows each image."""
    pre: Int[np.ndarray, "n c"]
    post: Int[np.ndarray, "n c"]

    @property
    def columns(self) -> int:
        """Neighbours of an image on either side."""
        return int(self.pre.shape[1])

    def kept(self, columns: int) -> Float[np.ndarray, " n"]:
        """Share of each image's first `columns` neighbours that are among as many after the connector."""
        return overlap(self.pre, self.post, columns)

    def save(self, folder: Path) -> None:
        """Write `nearest.npz`: 80 bytes an image and its name. NotWritten where the disk refuses."""
        make_folder(folder)
        remove_leftovers(folder)
        content = io.BytesIO()
        np.savez_compressed(
            content,
            images=np.array(self.images),
            documents=np.array(self.documents),
            pre=self.pre.astype(np.int32),
            post=self.post.astype(np.int32),
        )
        write_atomically(folder / FILE, content.getvalue())

    @classmethod
    def load(cls, folder: Path) -> NeighbourLists:
        """Read what `save` wrote. ValueError for a file that is not whole, or whose parts do not fit together."""
        path = folder / FILE
        try:
            with np.load(file_inside(folder, FILE), allow_pickle=False) as stored:
                if (size := sum(member.file_size for member in stored.zip.infolist())) > MOST_BYTES:
                    raise ValueError(f"it holds {size:,} bytes, at most {MOST_BYTES:,} are read")
                parts = {field.name: stored[field.name] for field in fields(cls)}
        except Exception as error:  # a broken archive raises whatever zipfile, zlib or numpy stumble over
            raise ValueError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
        images, documents = parts["images"].tolist(), parts["documents"].tolist()
        n, shape = len(images), parts["pre"].shape
        sides = np.stack([parts["pre"], parts["post"]]) if shape == parts["post"].shape else np.empty(0)
        whole = len(documents) == n and len(shape) == 2 and shape[0] == n and sides.dtype.kind == "i"
        if not whole or not sides.size or sides.min() < 0 or sides.max() >= n:
            raise ValueError(f"{path}: {n} images, {len(documents)} documents, neighbours {shape} do not fit")
        return cls(tuple(map(str, images)), tuple(map(int, documents)), parts["pre"], parts["post"])
