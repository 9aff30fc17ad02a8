"""Embeddings of pictures in a file that any script can write: one vector a picture, named by the hash of its pixels.

Two forms: `FILE.safetensors` with a tensor `vectors` `[n, width]` and, in its metadata under `images`, the hashes of
the pictures separated by white space; or `FILE.npy` with the vectors and `FILE.txt` with a hash a line. The hash of a
picture is
`connector_bench.pictures.picture_hash(picture)`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from connector_bench.atomic_files import make_folder, write_atomically
from connector_bench.foreign_files import regular_file
from connector_bench.preservation.reference import AskedOf, ReferenceVectors

ENDINGS = (".safetensors", ".npy")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class EmbeddingsFile:
    """Vectors of pictures in a file."""

    path: Path
    distance: str = "cosine"

    @cached_property
    def name(self) -> str:
        """What the record calls it: the file's name and the beginning of its SHA-256, no folder."""
        return f"embeddings {self.path.name} {sha256(regular_file(self.path).read_bytes()).hexdigest()[:12]}"

    def reference(self, asked: AskedOf) -> ReferenceVectors:
        """The vectors of these images. ValueError where the file lacks some of them."""
        images, vectors = self.content
        place = {image: row for row, image in enumerate(images)}
        if missing := [image for image in asked.images if image not in place]:
            raise ValueError(
                f"{self.path.name} has no vector of {len(missing)} of {len(asked.images)} images, such as {missing[0]}"
            )
        return ReferenceVectors(vectors[[place[image] for image in asked.images]], self.distance)

    @cached_property
    def content(self) -> tuple[tuple[str, ...], Float[np.ndarray, "n d"]]:
        """Hashes of pictures and their vectors. ValueError, naming what is wrong, where the file holds none."""
        if self.path.suffix not in ENDINGS:
            raise ValueError(f"{self.path.name} is no file of embeddings; it ends in {' or '.join(ENDINGS)}")
        try:
            found, vectors = _safetensors(self.path) if self.path.suffix == ENDINGS[0] else _npy(self.path)
        except (OSError, EOFError, SafetensorError, KeyError, ValueError) as error:
            raise ValueError(f"{self.path.name} cannot be read: {type(error).__name__}: {error}") from error
        images = tuple(found.split())
        if (
            vectors.ndim != 2
            or len(vectors) != len(images)
            or not vectors.size
            or vectors.dtype.kind not in "fiu"
        ):
            raise ValueError(
                f"{self.path.name} holds {vectors.dtype} of shape {list(vectors.shape)} and {len(images)} hashes; "
                "[pictures, width] numbers and a hash for each are needed"
            )
        if strange := [image for image in images if not _HASH.fullmatch(image)]:
            raise ValueError(
                f"{self.path.name}: {strange[0]!r:.80} is no picture's hash; connector_bench.pictures.picture_hash "
                "gives 64 hexadecimal digits"
            )
        if len(set(images)) < len(images):
            raise ValueError(f"{self.path.name} names {len(images) - len(set(images))} pictures twice")
        if not np.isfinite(vectors).all():
            raise ValueError(f"{self.path.name} holds NaN or infinity")
        return images, vectors.astype(np.float32)


def _safetensors(path: Path) -> tuple[str, np.ndarray]:
    with safe_open(regular_file(path), framework="pt") as file:
        vectors = file.get_tensor("vectors")
        return (file.metadata() or {})["images"], (
            vectors.float() if vectors.is_floating_point() else vectors
        ).numpy()


def _npy(path: Path) -> tuple[str, np.ndarray]:
    hashes = regular_file(path.with_suffix(".txt")).read_text(encoding="utf-8")
    return hashes, np.load(regular_file(path), allow_pickle=False)


def write_embeddings(path: Path, images: Sequence[str], vectors: Float[np.ndarray, "n d"]) -> None:
    """Write vectors of pictures as safetensors; the file appears whole or not at all. NotWritten where it cannot."""
    make_folder(path.parent)
    content = save(
        {"vectors": np.ascontiguousarray(vectors, dtype=np.float32)}, {"images": "\n".join(images)}
    )
    write_atomically(path, content)
