"""All other vectors in order of their distance, for measures that need ranks beyond the nearest k: block by block, and
never N x N at once but for a sample of some thousand vectors.

Distances are float64 products of centred vectors (relative error near 1e-12); equal vectors are at exactly
equal distances, and ties go to the lower index, as in `search.neighbours`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from connector_bench.preservation.neighbours import on_device
from connector_bench.preservation.neighbours.device_space import DeviceSpace
from connector_bench.preservation.neighbours.search import threads
from connector_bench.preservation.neighbours.space import Space, checked
from connector_bench.progress import steps

Reader = Callable[[Int[np.ndarray, " q"], Int[np.ndarray, "q others"]], np.ndarray]
"""What one measure takes from a block: `(rows, order)` to a number or more per row; `order` is nearest first."""

_ELEMENTS, _MAX_ROWS, _PART = 2**21, 256, 1024


def read_rankings(
    vectors: Float[np.ndarray, "n d"],
    distance: str,
    *readers: Reader,
    queries: Int[np.ndarray, " q"] | None = None,
    device: str = "cpu",
    title: str = "ranking",
) -> tuple[np.ndarray, ...]:
    """One pass over the ranking of all others by every vector, or by some `queries`, which each reader sees; its
    results, row by row. On a `device` (as `search.neighbours` takes it) the ranking happens there.

    Raises:
        ValueError: what `search.neighbours` refuses.
    """
    points = checked(vectors, 1, distance)
    numbers = np.arange(len(points)) if queries is None else queries
    # of equal vectors one is multiplied, so that their distances are equal to the last bit
    distinct, same = _distinct(points)

    def read(rows: Int[np.ndarray, " b"], order: Int[np.ndarray, "b others"]) -> list[np.ndarray]:
        return [reader(rows, order) for reader in readers]

    found: list[list[np.ndarray]] = []
    if device != "cpu":
        import torch

        try:
            space = DeviceSpace.of(points, distance, device.removeprefix("torch-"))
            order_there = on_device.orders(space, distinct, same)

            def work(part: slice, _: int) -> None:
                found.append(read(numbers[part], order_there(numbers[part])))

            elements = space.elements
            rows = int(np.clip(elements // len(points), 1, _MAX_ROWS))
            on_device.in_blocks(work, len(numbers), rows, elements, title)
            return _joined(found)
        except torch.cuda.OutOfMemoryError:
            on_device.warn_of_memory(device, points)
    order_of = _orders(Space.of(points, distance), distinct, same)
    step = int(np.clip(_ELEMENTS // len(points), 1, _MAX_ROWS))
    blocks = [numbers[start : start + step] for start in range(0, len(numbers), step)]
    with threads() as (pool, _):
        done = pool.map(lambda rows: read(rows, order_of(rows)), blocks)
        return _joined(list(steps(done, title, total=len(blocks))))


def _joined(found: list[list[np.ndarray]]) -> tuple[np.ndarray, ...]:
    return tuple(np.concatenate(results) for results in zip(*found, strict=True))


def _distinct(points: Float32[np.ndarray, "n d"]) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " n"]]:
    """The first row of every distinct vector, and which of these each vector is; 0 and -0 are equal."""
    numbers: dict[bytes, int] = {}
    same = np.array([numbers.setdefault(sha256(row + 0.0).digest(), len(numbers)) for row in points])
    return np.unique(same, return_index=True)[1], same


def _orders(
    space: Space, distinct: Int[np.ndarray, " m"], same: Int[np.ndarray, " n"]
) -> Callable[[Int[np.ndarray, " b"]], Int[np.ndarray, "b others"]]:
    parts = [distinct[start : start + _PART] for start in range(0, len(distinct), _PART)]
    squares = [np.square(space.centred(part)).sum(1) for part in parts]

    def order_of(rows: Int[np.ndarray, " b"]) -> Int[np.ndarray, "b others"]:
        own = -2 * space.centred(rows)
        away = np.empty((len(rows), len(distinct)))
        for number, part in enumerate(parts):
            block = away[:, number * _PART : number * _PART + len(part)]
            np.matmul(own, space.centred(part).T, out=block)
            block += squares[number]
        if len(distinct) < len(same):
            away = away[:, same]
        away[np.arange(len(rows)), rows] = np.inf
        return _in_order(away)[:, :-1]

    return order_of


def _in_order(away: Float64[np.ndarray, "q n"]) -> Int[np.ndarray, "q n"]:
    """Order of each row; only rows with ties take the slower sort that keeps equal ones by their index."""
    order = np.argsort(away, axis=1)
    tied = (np.diff(np.take_along_axis(away, order, 1), axis=1) == 0).any(axis=1)
    order[tied] = np.argsort(away[tied], axis=1, kind="stable")
    return order


def ranks_of(partners: Int[np.ndarray, "n c"]) -> Reader:
    """Rank of each row's partners: 1 is the nearest, n - 1 the farthest.

    Raises:
        ValueError: partners that are not one row of other images for each image.
    """
    if partners.ndim != 2 or (partners == np.arange(len(partners))[:, None]).any():
        raise ValueError(
            f"partners must be [n, c] and never the image itself, got shape {partners.shape} or a row that names itself"
        )
    return lambda rows, order: np.take_along_axis(_places(order), partners[rows], 1) + 1


def _places(order: Int[np.ndarray, "q others"]) -> Int[np.ndarray, "q n"]:
    """Place of every vector in each row's order; the row's own is beyond all."""
    n = order.shape[1] + 1
    place = np.full((len(order), n), n, dtype=np.int32)
    np.put_along_axis(place, order, np.arange(n - 1, dtype=np.int32)[None], axis=1)
    return place


@dataclass(frozen=True, eq=False)
class Ordered:
    """Every image's others, nearest first, and at which place each of them stands."""

    others: Int[np.ndarray, "n others"]
    place: Int[np.ndarray, "n n"]

    @classmethod
    def of(cls, vectors: Float[np.ndarray, "n d"], distance: str) -> Ordered:
        """Of n x n numbers, so for a few thousand images at most. Raises ValueError as `read_rankings`."""
        readers: tuple[Reader, ...] = (
            lambda _, order: order,
            lambda _, order: _places(order),
        )
        return cls(*read_rankings(vectors, distance, *readers))

    def inside(self, half: Bool[np.ndarray, " n"]) -> Halved:
        """The same order in each half on its own."""
        mine = half[self.others] == half[:, None]
        return Halved(self, mine, np.cumsum(mine, axis=1, dtype=np.int32))


@dataclass(frozen=True, eq=False)
class Halved:
    """An order in which only images of one's own half count."""

    whole: Ordered
    mine: Bool[np.ndarray, "n others"]
    """Whether the image at a place is of the row's half."""
    rank: Int[np.ndarray, "n others"]
    """How many of the row's half there are up to a place."""

    def nearest(self, k: int) -> Int[np.ndarray, "n k"]:
        """Each image's k nearest in its half."""
        return np.take_along_axis(self.whole.others, places_in_half(self.mine, np.arange(1, k + 1)), 1)

    def rank_of(self, partners: Int[np.ndarray, "n k"]) -> Int[np.ndarray, "n k"]:
        """Rank in the half of partners from the same half, 1 for the nearest."""
        return np.take_along_axis(self.rank, np.take_along_axis(self.whole.place, partners, 1), 1)


def places_in_half(mine: Bool[np.ndarray, "n c"], ranks: Int[np.ndarray, " r"]) -> Int[np.ndarray, "n r"]:
    """Place in each row of its first, second ... own one; beyond all places where there are not so many."""
    rows, columns = mine.shape
    flat = np.flatnonzero(mine)
    first = np.arange(rows)[:, None] * columns
    wanted = np.searchsorted(flat, first) + ranks - 1
    places = flat[np.minimum(wanted, len(flat) - 1)] - first
    return np.where((wanted < len(flat)) & (places < columns), places, columns)


def average_precision(
    relevant: Bool[np.ndarray, "q r"], rank: Int[np.ndarray, "q r"] | None = None
) -> Float64[np.ndarray, " q"]:
    """Average precision of ranked lists, best first: mean over the relevant items of the precision at their
    rank, which is their place unless `rank` says otherwise; 0..1.

    NaN for a list without a relevant item.
    """
    row, place = np.nonzero(relevant)
    at = place + 1 if rank is None else rank[row, place]
    counts = np.bincount(row, minlength=len(relevant))
    hits = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    with np.errstate(invalid="ignore"):
        return np.bincount(row, hits / at, minlength=len(relevant)) / counts
