"""The fp32 stage of a self-search: the nearest others of every vector, but for rounding.

Every pair of vectors is multiplied once: a block of distances serves its rows and, transposed, its
columns. Blocks meet as in a round-robin tournament: those of one round share no vector, so threads need no
locks. Distances go to a heap for each vector and are forgotten; beside the vectors, only the heaps and one
block a thread are in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Int32

from connector_bench.preservation.neighbours.space import RUN, RoundingBounds, Space
from connector_bench.progress import steps


@dataclass(frozen=True)
class Candidates:
    """Half squared distances to the nearest others found so far, and their indices, in the order of a heap."""

    half: Float32[np.ndarray, "n c"]
    index: Int32[np.ndarray, "n c"]

    @classmethod
    def of_none(cls, n: int, count: int) -> Candidates:
        """`count` free places for each of `n` vectors."""
        return cls(np.full((n, count), np.inf, dtype=np.float32), np.zeros((n, count), dtype=np.int32))

    def offer(self, rows: slice, half: Float32[np.ndarray, "q m"], first: int) -> None:
        """Let `rows` take what is nearer than what they have; columns are the vectors from `first` on."""
        import faiss

        index = self.index[rows].astype(np.int64)
        heap: Any = faiss.float_maxheap_array_t()
        heap.nh, heap.k = index.shape
        heap.val, heap.ids = faiss.swig_ptr(self.half[rows]), faiss.swig_ptr(index)
        heap.addn(half.shape[1], faiss.swig_ptr(half), first)
        self.index[rows] = index


def nearest(
    space: Space, bounds: RoundingBounds, count: int, threads: Executor, block: int, title: str
) -> Candidates:
    """The `count` nearest others of every vector; `block` vectors meet `block` others at a time."""
    found = Candidates.of_none(len(space.vectors), count)
    blocks = space.parts(block)

    def meet(pair: tuple[int, int]) -> None:
        a, b = (blocks[number] for number in pair)
        half = half_distances(space, bounds, a, b)
        if a == b:
            np.fill_diagonal(half, np.inf)
        else:
            found.offer(b, np.ascontiguousarray(half.T), a.start)
        found.offer(a, half, b.start)

    for pairs in steps(_rounds(len(blocks)), title, total=len(blocks)):
        deque(threads.map(meet, pairs), maxlen=0)
    return found


def _rounds(players: int) -> Iterator[list[tuple[int, int]]]:
    """Every pair of players, themselves included, once; in a round each player takes part in one pair."""
    for number in range(players):
        partners = [(a, (number - a) % players) for a in range(players)]
        yield [(a, b) for a, b in partners if a <= b]


def half_distances(
    space: Space, bounds: RoundingBounds, rows: slice | Int[np.ndarray, " p"], columns: slice
) -> Float32[np.ndarray, "p q"]:
    """Half squared distances in fp32, summed as the rounding bound assumes."""
    a, b = space.coarse(rows), space.coarse(columns)
    half = a[:, :RUN] @ b[:, :RUN].T
    for start in range(RUN, a.shape[1], RUN):
        half += a[:, start : start + RUN] @ b[:, start : start + RUN].T
    np.subtract(bounds.half_square[columns], half, out=half)
    half += bounds.half_square[rows, None]
    return half
