"""`search.neighbours` on a torch device: the same two stages, of which nothing but the lists comes back.

A block of vectors meets the whole gallery in fp32; the nearest few more than asked for get their distances in float64
and are sorted by them, ties by index. Rows whose last place the rounding bound leaves open are searched again. Blocks
are as large as the device's memory allows, and become smaller where it runs out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32

from connector_bench.float32 import full_float32
from connector_bench.preservation.neighbours.device_space import DeviceSpace, bounds_of
from connector_bench.preservation.neighbours.space import RUN, RoundingBounds
from connector_bench.progress import steps

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = object

_MAX_ROWS, _PART = 4096, 4096


def ranked_candidates(
    vectors: Float32[np.ndarray, "n d"], k: int, count: int, distance: str, device: str, title: str
) -> tuple[DeviceSearch, Int32[np.ndarray, "n k"], Int[np.ndarray, " r"]]:
    """Each vector's first `k` of `count` candidates, in order, and the rows that may lack a true neighbour.

    Raises:
        torch.OutOfMemoryError: not even one row at a time fits beside the vectors.
    """
    import torch

    with full_float32():
        search = DeviceSearch.of(DeviceSpace.of(vectors, distance, device))
        n = len(vectors)
        found = torch.empty((n, k), dtype=torch.int32, device=device)
        certain = torch.empty(n, dtype=torch.bool, device=device)

        def work(rows: slice, elements: int) -> None:
            found[rows], certain[rows] = search.ranked(rows, k, count, elements)

        elements = search.space.elements
        in_blocks(work, n, int(np.clip(elements // n, 1, _MAX_ROWS)), elements, title)
        lists: Int32[np.ndarray, "n k"] = found.cpu().numpy()
        unsure: Int[np.ndarray, " r"] = (~certain).nonzero()[:, 0].cpu().numpy()
        return search, lists, unsure


@dataclass(frozen=True, eq=False)
class DeviceSearch:
    """The gallery on its device, in float64 by way of `space` and in fp32 as `z`."""

    space: DeviceSpace
    z: Float32[Tensor, "n d2"]
    bounds: RoundingBounds

    @classmethod
    def of(cls, space: DeviceSpace) -> DeviceSearch:
        """Of a space, with its rounding bounds."""
        z = space.coarse()
        return cls(space, z, bounds_of(z, space))

    def half_distances(self, rows: slice | Int[Tensor, " q"]) -> Float32[Tensor, "q n"]:
        """Half squared distances to all vectors in fp32, summed as the rounding bound assumes."""
        import torch

        own = self.z[rows]
        half = own[:, :RUN] @ self.z[:, :RUN].T
        for start in range(RUN, own.shape[1], RUN):
            half.addmm_(own[:, start : start + RUN], self.z[:, start : start + RUN].T)
        torch.sub(self.bounds.half_square, half, out=half)
        return half.add_(self.bounds.half_square[rows, None])

    def ranked(
        self, rows: slice, k: int, count: int, elements: int
    ) -> tuple[Int32[Tensor, "q k"], Bool[Tensor, " q"]]:
        """The first `k` of `count` candidates of some rows in their true order, and which rows surely have the true
        ones: errors that exceed half the likely bound make the worst-case bound stand in."""
        import torch

        half = self.half_distances(rows)
        half.diagonal(rows.start).fill_(torch.inf)
        near, index = half.topk(count, 1, largest=False, sorted=False)
        del half
        index, order = index.sort(1)
        coarse = 2 * near.gather(1, order).double()
        numbers = torch.arange(rows.start, rows.stop, device=index.device)
        true = self.space.distances(numbers, index, elements)
        limit = coarse.amax(1)  # whatever is no candidate lies at this fp32 distance or beyond
        likely = self.bounds.error(rows, limit)
        holds = (2 * (coarse - true).abs() <= likely[:, None]).all()
        error = torch.where(holds, likely, self.bounds.error(rows, limit, worst=True))
        true, order = true.sort(dim=1, stable=True)
        certain = limit > true[:, k - 1] + 2 * error
        if count == len(self.z) - 1:
            certain.fill_(True)
        return index.gather(1, order[:, :k]).int(), certain

    def within_reach(
        self, rows: Int[np.ndarray, " r"], known: Int32[np.ndarray, "r k"]
    ) -> Int[np.ndarray, "r m"]:
        """For each row, in their true order, the `k + 1` vectors (itself too) that are nearest, of all that are as
        near as the farthest of `known` ones."""
        import torch

        with full_float32():
            device, elements = self.z.device, self.space.elements
            own, others = (torch.from_numpy(array.astype(np.int64)).to(device) for array in (rows, known))
            found = torch.empty((len(rows), known.shape[1] + 1), dtype=torch.int64, device=device)

            def work(part: slice, elements: int) -> None:
                found[part] = self._within_reach(own[part], others[part], elements)

            in_blocks(work, len(rows), max(1, elements // len(self.z)), elements, "ties")
            lists: Int[np.ndarray, "r m"] = found.cpu().numpy()
            return lists

    def _within_reach(
        self, rows: Int[Tensor, " r"], known: Int[Tensor, "r k"], elements: int
    ) -> Int[Tensor, "r m"]:
        import torch

        reach = self.space.distances(rows, known, elements).amax(1)
        reach += self.bounds.error(rows, reach, worst=True)
        place, other = (2 * self.half_distances(rows).double() <= reach[:, None]).nonzero(as_tuple=True)
        away = self.space.distances(rows[place], other[:, None], elements)[:, 0]
        order = away.argsort(stable=True)
        order = order[place[order].argsort(stable=True)]
        sizes = torch.bincount(place, minlength=len(rows))
        first = torch.arange(known.shape[1] + 1, device=rows.device)
        return other[order[(sizes.cumsum(0) - sizes)[:, None] + first]]


def orders(
    space: DeviceSpace, distinct: Int[np.ndarray, " m"], same: Int[np.ndarray, " n"]
) -> Callable[[Int[np.ndarray, " b"]], Int32[np.ndarray, "b others"]]:
    """What puts all others of some rows in order, nearest first, by products in float64.

    `distinct` are rows that hold different vectors, `same` says which of these each vector is.
    """
    import torch

    device = space.vectors.device
    first, twin = (torch.from_numpy(numbers).to(device) for numbers in (distinct, same))

    def order_of(rows: Int[np.ndarray, " b"]) -> Int32[np.ndarray, "b others"]:
        numbers = torch.from_numpy(rows).to(device)
        own = -2 * space.centred(numbers)
        away = torch.empty((len(rows), len(first)), dtype=torch.float64, device=device)
        for block, part in zip(away.split(_PART, 1), first.split(_PART), strict=True):
            others = space.centred(part)
            block.copy_(own @ others.T).add_(others.square().sum(1))
        if len(first) < len(twin):
            away = away[:, twin]
        away[torch.arange(len(rows), device=device), numbers] = torch.inf
        found: Int32[np.ndarray, "b others"] = away.argsort(dim=1, stable=True)[:, :-1].int().cpu().numpy()
        return found

    return order_of


def warn_of_memory(device: str, points: Float32[np.ndarray, "n d"]) -> None:
    """Say that the CPU does what the device has no room for."""
    warnings.warn(
        f"{device} has too little free memory to search {len(points):,} vectors of {points.shape[1]:,} numbers: the "
        "CPU searches, in more time and with the same result",
        RuntimeWarning,
        stacklevel=3,
    )


def in_blocks(work: Callable[[slice, int], None], n: int, rows: int, elements: int, title: str) -> None:
    """Do the work on all `n` rows, so many at a time and with so many elements; half as many of both where memory runs
    out."""
    import torch

    start = 0
    with steps([], title, total=n, unit="vector") as bar:
        while start < n:
            part = slice(start, min(start + rows, n))
            try:
                work(part, elements)
            except torch.cuda.OutOfMemoryError:
                if rows == 1:
                    raise
                full = True
            else:
                full = False
            if full:  # out of the handler, so that its traceback holds no tensor any more
                rows, elements = -(-rows // 2), elements // 2
                torch.cuda.empty_cache()
                continue
            start = part.stop
            bar.update(part.stop - part.start)
