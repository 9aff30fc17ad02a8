"""A reference space from what a user says: in a task's YAML, or from Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from connector_bench.preservation.neighbours.space import DISTANCES
from connector_bench.preservation.reference import AskedOf, ReferenceSpace, ReferenceVectors
from connector_bench.spaces.content import Content
from connector_bench.spaces.embeddings import ENDINGS, EmbeddingsFile
from connector_bench.spaces.encoders import ImageEncoder

KINDS = ("content", "embeddings", "encoder")
ALLOWED = (
    "one of content (a function from a document to what is in its picture), embeddings (a file .safetensors or .npy) "
    "and encoder (a name), beside it distance"
)


@dataclass(frozen=True, eq=False)
class GivenVectors:
    """One vector for each picture that was given, in the same order."""

    vectors: Any
    name: str = "given vectors"

    def reference(self, asked: AskedOf) -> ReferenceVectors:
        """Those of these images."""
        whole = as_reference(self.vectors)
        if max(asked.numbers) >= len(whole):
            raise ValueError(
                f"reference holds {len(whole)} vectors, the pictures are {max(asked.numbers) + 1} or more"
            )
        return whole.take(np.asarray(asked.numbers))


def as_reference(given: Any, distance: str = "cosine") -> ReferenceVectors:
    """Vectors of images from an array, a tensor or a sparse matrix of counts. ValueError for anything else."""
    from scipy import sparse

    if isinstance(given, ReferenceVectors):
        return given
    if sparse.issparse(given):
        return ReferenceVectors(sparse.csr_matrix(given), distance)
    if hasattr(given, "detach"):
        given = given.detach().float().cpu().numpy()
    array = np.asarray(given)
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise ValueError(
            f"reference is {array.dtype} of shape {list(array.shape)}; [images, width] numbers are needed"
        )
    return ReferenceVectors(array.astype(np.float32), distance)


def opened(given: Any) -> ReferenceSpace | None:
    """The space that a task's `reference` names; None for none.

    Raises:
        ValueError: anything but a mapping with one of `KINDS`, or a file that is not there.
    """
    if given is None:
        return None
    if (
        not isinstance(given, Mapping)
        or sum(kind in given for kind in KINDS) != 1
        or set(given) - {*KINDS, "distance"}
    ):
        raise ValueError(f"reference is {given!r:.200}; allowed is {ALLOWED}")
    distance = given.get("distance", "cosine")
    if distance not in DISTANCES:
        raise ValueError(f"distance of reference must be one of {', '.join(DISTANCES)}, got {distance!r}")
    if "content" in given:
        if not callable(given["content"]) or distance != "cosine":
            raise ValueError(
                f"content is {given['content']!r:.80}, by cosine; a function (!function) is needed"
            )
        return Content(given["content"])
    if "encoder" in given:
        return ImageEncoder(str(given["encoder"]), distance)
    path = Path(str(given["embeddings"]))
    if not path.is_file() or path.suffix not in ENDINGS:
        raise ValueError(f"embeddings is {str(path)!r}; a file that ends in {' or '.join(ENDINGS)} is needed")
    return EmbeddingsFile(path, distance)


def opened_from_python(given: Any) -> ReferenceSpace | None:
    """The same from Python: also vectors, a path, or an encoder's name."""
    if given is None or isinstance(given, Mapping):
        return opened(given)
    if isinstance(given, (str, Path)):
        is_file = Path(given).suffix in ENDINGS
        return opened({"embeddings" if is_file else "encoder": given})
    return GivenVectors(as_reference(given))
