"""An independent space that neighbourhoods are held against: its vectors, and its neighbour lists among some images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from connector_bench.preservation.neighbours.search import neighbours
from connector_bench.preservation.neighbours.space import DISTANCES

if TYPE_CHECKING:
    from PIL.Image import Image

ORDERS = 8
"""Random orders by which images that are equally near are taken, each in its turn."""
_KEYS = 2**22
"""Distances that are put in order at a time."""


@dataclass(frozen=True, eq=False)
class ReferenceVectors:
    """One vector an image: dense numbers, or how often each of many features is there (a sparse matrix).

    Counts tie often (two pictures of one object are equally near to a third), so the neighbours of a sparse reference
    are taken by cosine and in several random orders of the images, over which figures are averaged.
    """

    vectors: Float[np.ndarray, "n d"] | Any
    distance: str = "cosine"

    def __post_init__(self) -> None:
        if self.distance not in DISTANCES:
            raise ValueError(f"distance must be one of {', '.join(DISTANCES)}, got {self.distance!r}")
        if not sparse.issparse(self.vectors):
            return
        if self.distance != "cosine":
            raise ValueError(
                f"counts of features are held against each other by cosine, got {self.distance!r}"
            )
        values = np.asarray(self.vectors.data)
        if not np.isfinite(values).all() or (values < 0).any() or (values != np.round(values)).any():
            raise ValueError("a sparse reference counts features: whole numbers of at least 0")

    def __len__(self) -> int:
        return int(self.vectors.shape[0])

    def take(self, rows: Int[np.ndarray, " m"]) -> ReferenceVectors:
        """Some of the images, in this order."""
        return ReferenceVectors(self.vectors[rows], self.distance)

    def lists(
        self, columns: int, *, seed: int = 0, device: str = "cpu"
    ) -> tuple[Int[np.ndarray, "n c"], ...]:
        """Every image's nearest others, once for each order of ties.

        Raises:
            ValueError: vectors that `neighbours` refuses.
        """
        if not sparse.issparse(self.vectors):
            return (
                neighbours(
                    self.vectors, columns, self.distance, device=device, title="searching a reference"
                ),
            )
        return tuple(_in_orders(sparse.csr_matrix(self.vectors, dtype=np.float64), columns, seed))


def _in_orders(counts: Any, columns: int, seed: int) -> Iterator[Int[np.ndarray, "n c"]]:
    """Lists by cosine between counts, equal ones in random order: a lower index would make hubs of some images."""
    n = counts.shape[0]
    rng = np.random.default_rng(seed)
    squares = np.asarray(counts.multiply(counts).sum(axis=1)).ravel()
    orders = [rng.permutation(n) for _ in range(ORDERS)]
    found = np.empty((ORDERS, n, columns), dtype=np.int32)
    rows = max(1, _KEYS // n)
    for first in range(0, n, rows):
        part = slice(first, min(first + rows, n))
        products = (counts[part] @ counts.T).toarray()
        scale = np.outer(squares[part], squares)
        # squares of cosines, whose terms are whole numbers: what is equal by arithmetic has the same bits
        alike = np.divide(np.square(products), scale, out=np.zeros_like(scale), where=scale > 0)
        alike[np.ix_(squares[part] == 0, squares == 0)] = 1.0  # nothing is in either picture
        alike[np.arange(part.stop - first), np.arange(first, part.stop)] = -1.0
        levels = np.unique(alike, return_inverse=True)[1].reshape(alike.shape)
        for number, order in enumerate(orders):
            keys = -levels.astype(np.int64) * n + order
            near = np.argpartition(keys, columns - 1, axis=1)[:, :columns]
            sorted_ = np.argsort(np.take_along_axis(keys, near, 1), axis=1)
            found[number, part] = np.take_along_axis(near, sorted_, 1)
    return iter(found)


@dataclass(frozen=True, eq=False)
class AskedOf:
    """Images whose reference vectors are wanted."""

    images: Sequence[str]
    """SHA-256 of their pixels."""
    numbers: Sequence[int]
    """The first document that shows each."""
    said: Sequence[Mapping[str, str]]
    """What the data set says of each, by column."""
    picture: Callable[[int], Image] | None
    """Any document's picture; None where pictures are not at hand."""
    device: str
    """Where the model ran."""


class ReferenceSpace(Protocol):
    """Where reference vectors come from."""

    @property
    def name(self) -> str:
        """What the record calls it."""
        ...

    def reference(self, asked: AskedOf) -> ReferenceVectors:
        """The vectors of these images, in their order. ValueError, saying why, where it has not all of them."""
        ...
