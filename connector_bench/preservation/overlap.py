"""Overlap of two sides' neighbour lists, and what it would be by chance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from connector_bench.preservation.neighbours.ranking import places_in_half

_ELEMENTS = 2**20


@dataclass(frozen=True, eq=False)
class CommonNeighbours:
    """Two sides' neighbour lists, and at which place of the other side's list every neighbour stands."""

    pre: Int[np.ndarray, "n c"]
    post: Int[np.ndarray, "n c"]
    in_post: Int[np.ndarray, "n c"]
    """Place in the list after the connector of each neighbour before it; c where it is not there."""
    in_pre: Int[np.ndarray, "n c"]
    """The same with the sides exchanged."""

    @classmethod
    def of(cls, pre: Int[np.ndarray, "n c"], post: Int[np.ndarray, "n c"]) -> CommonNeighbours:
        """Of lists of one shape.

        Raises:
            ValueError: arrays of different shapes, or a row that names a neighbour twice.
        """
        if pre.ndim != 2 or pre.shape != post.shape or not pre.size:
            raise ValueError(f"neighbour lists must have one shape [n, k], got {pre.shape} and {post.shape}")
        width = int(max(pre.max(), post.max())) + 1
        pre, post = (side.astype(np.intp) for side in (pre, post))  # the type that indexing is fastest with
        return cls(pre, post, _places(post, pre, width), _places(pre, post, width))

    def overlap(self, k: int) -> Float64[np.ndarray, " n"]:
        """Share of each image's first `k` neighbours that both lists hold."""
        return np.count_nonzero(self.in_post[:, :k] < k, axis=1) / k

    def among(self, members: Bool[np.ndarray, " n"], columns: int) -> CommonNeighbours:
        """The first so many neighbours of each member among the members, by their place among them."""
        return CommonNeighbours.of(*(_among(members, side, columns) for side in (self.pre, self.post)))

    def curve(self, k: int) -> Float64[np.ndarray, "n k"]:
        """`overlap` for 1 to `k` neighbours."""
        places = self.in_post[:, :k]
        row, column = np.nonzero(places < k)
        met = np.maximum(column, places[row, column])
        new = np.bincount(row * k + met, minlength=len(places) * k).reshape(-1, k)
        return new.cumsum(axis=1) / np.arange(1, k + 1)


def _among(members: Bool[np.ndarray, " n"], found: Int[np.ndarray, "n c"], k: int) -> Int[np.ndarray, "m k"]:
    own = found[members]
    places = places_in_half(members[own], np.arange(1, k + 1))
    padded = np.column_stack(
        [own, np.flatnonzero(members)]
    )  # itself stands for a neighbour that the list lacks
    return (np.cumsum(members) - 1)[np.take_along_axis(padded, places, 1)]


def overlap(
    pre_neighbours: Int[np.ndarray, "n c"], post_neighbours: Int[np.ndarray, "n c"], k: int
) -> Float64[np.ndarray, " n"]:
    """Share of each image's first `k` neighbours that both lists hold; 0..1, higher means better kept.

    Search once at the largest k and call this for each k.

    Raises:
        ValueError: arrays of different shapes, `k` outside 1..columns, or a row that names a neighbour twice.
    """
    common = CommonNeighbours.of(pre_neighbours, post_neighbours)
    if not 1 <= k <= pre_neighbours.shape[1]:
        raise ValueError(
            f"k must lie in 1..{pre_neighbours.shape[1]}, the number of neighbours searched, got {k}"
        )
    return common.overlap(k)


def chance(k: int, n: int) -> float:
    """Expected overlap of neighbours drawn at random: `k / (n - 1)`.

    Raises:
        ValueError: `k` outside 1..n-1.
    """
    if not 1 <= k < n:
        raise ValueError(f"k must lie in 1..n-1, got k={k} with n={n}")
    return k / (n - 1)


def chance_corrected(
    overlap: float | Float[np.ndarray, " n"], k: int, n: int
) -> float | Float[np.ndarray, " n"]:
    """Overlap corrected for chance, `(R - c) / (1 - c)`: 0 at chance, 1 when all is kept. NaN at k = n - 1,
    where c = 1."""
    c = chance(k, n)
    return (overlap - c) / (1 - c) if c < 1 else overlap * np.nan


def place_type(columns: int) -> np.dtype[np.signedinteger]:
    """Narrow integers that hold every place in a list and `columns` itself: comparing them is what takes time."""
    return np.dtype(np.int16 if columns < 2**15 else np.int32)


def _places(
    lists: Int[np.ndarray, "n c"], items: Int[np.ndarray, "n c"], width: int
) -> Int[np.ndarray, "n c"]:
    """Place of each item in its own row's list; c where it is not there. Items are numbers below `width`."""
    n, columns = lists.shape
    rows = min(n, max(1, _ELEMENTS // width))
    places = np.full(rows * width, columns, dtype=place_type(columns))  # all numbers' places, for some rows
    starts = np.arange(rows)[:, None] * width
    found = np.empty((n, columns), dtype=places.dtype)
    for first in range(0, n, rows):
        block = slice(first, min(first + rows, n))
        listed = starts[: block.stop - first] + lists[block]
        places[listed] = np.arange(columns)
        if (places[listed] != np.arange(columns)).any():
            raise ValueError("a row names the same neighbour twice")
        found[block] = places[starts[: block.stop - first] + items[block]]
        places[listed] = columns
    return found


def allowed_ks(ks: Sequence[int], n: int) -> tuple[int, ...]:
    """Those k that a set of `n` images allows, in their order: a k needs k + 2, since with k = n - 1 any sets agree.

    Raises:
        ValueError: there is none among `ks`, or one below 1.
    """
    given = tuple(ks) if isinstance(ks, Iterable) else ks
    whole = isinstance(given, tuple) and all(
        isinstance(k, Integral) and not isinstance(k, bool) for k in given
    )
    if not given or not whole or min(ks) < 1:
        raise ValueError(f"ks must be whole numbers of at least 1, got {given}{one_k(given)}")
    allowed = tuple(int(k) for k in ks if k <= n - 2)
    if not allowed:
        wanted = ", ".join(map(str, ks))
        raise ValueError(f"k = {wanted} needs at least {min(ks) + 2} different images, got {n}")
    return allowed


def one_k(given: object) -> str:
    """What is wrong with a number where several are needed."""
    return f"; one k is ({given},)" if isinstance(given, int) else ""


def too_few(needed: Mapping[str, int], n: int) -> str | None:
    """One sentence on what `n` images are too few for, given how many each needs; None where they are enough."""
    missing = [f"{name} (needs {least})" for name, least in needed.items() if n < least]
    return f"{n} different images are too few for {', '.join(missing)}" if missing else None
