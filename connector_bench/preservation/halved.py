"""Neighbours and ranks inside the two halves of a set of images, each half its own gallery, from one search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from connector_bench.preservation.ranking import full_ranking


@dataclass(frozen=True)
class Ordered:
    """Every image's others, nearest first, and at which place each of them stands."""

    others: Int[np.ndarray, "n others"]
    place: Int[np.ndarray, "n n"]

    @classmethod
    def of(cls, vectors: Float[np.ndarray, "n d"], distance: str) -> Ordered:
        """Of n x n numbers, so for a few thousand images at most. Raises ValueError as `full_ranking`."""
        others = np.concatenate([order for _, order in full_ranking(vectors, distance)]).astype(np.int32)
        n = len(others)
        place = np.empty((n, n), dtype=np.int32)
        np.put_along_axis(place, others, np.arange(n - 1, dtype=np.int32)[None], axis=1)
        np.fill_diagonal(place, n)
        return cls(others, place)

    def inside(self, half: Bool[np.ndarray, " n"]) -> Halved:
        """The same order in each half on its own."""
        mine = half[self.others] == half[:, None]
        return Halved(self, mine, np.cumsum(mine, axis=1, dtype=np.int32))


@dataclass(frozen=True)
class Halved:
    """An order in which only images of one's own half count."""

    whole: Ordered
    mine: Bool[np.ndarray, "n others"]
    """Whether the image at a place is of the row's half."""
    rank: Int[np.ndarray, "n others"]
    """How many of the row's half there are up to a place."""

    def nearest(self, k: int) -> Int[np.ndarray, "n k"]:
        """Each image's k nearest in its half."""
        row, place = np.nonzero(self.mine & (self.rank <= k))
        return self.whole.others[row, place].reshape(len(self.mine), k)

    def rank_of(self, partners: Int[np.ndarray, "n k"]) -> Int[np.ndarray, "n k"]:
        """Rank in the half of partners from the same half, 1 for the nearest."""
        return np.take_along_axis(self.rank, np.take_along_axis(self.whole.place, partners, 1), 1)
