"""Exact nearest neighbours of every vector among all the others, at the cost of one fp32 search.

Two stages. A *coarse* search (faiss on the CPU, torch elsewhere) in fp32, on centred and scaled vectors,
hands out a few more candidates than asked for. Then every candidate whose place the fp32 rounding bound
leaves open gets its distance anew in float64, and ties go to the lower index. A row whose last place could
still be taken by a vector that is no candidate (many duplicates) is searched again over the whole gallery.
Both stages work in blocks: the gallery is never copied whole.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from connector_bench.preservation.space import Space, checked

_MARGIN = 24
_Hits = tuple[Float32[np.ndarray, "q c"], Int[np.ndarray, "q c"]]


def neighbours(
    vectors: Float[np.ndarray, "n d"], k: int, distance: str = "l2", *, device: str = "cpu"
) -> Int[np.ndarray, "n k"]:
    """Indices of each vector's `k` nearest others, nearest first; ties go to the lower index.

    A vector is left out of its own list by its index, so that a duplicate of it is a neighbour like any
    other. The result is that of a brute-force search in float64 over the vectors as fp32. Distances:

    - `l2`: Euclidean;
    - `cosine`: 1 - cosine similarity; zero vectors, which have no direction, count as one direction of their
      own, at distance 0 from one another and 1 from every other vector;
    - `l2_standardized`: Euclidean after each dimension is divided by its standard deviation over the gallery
      (population, float64). A dimension that varies by no more than fp32 rounding counts as constant and is
      dropped.

    `device` is `cpu` (faiss), `torch-cpu`, or a torch device such as `cuda` or `cuda:1`; the indices are the
    same.

    Raises:
        ValueError: vectors that are not a 2-D array of finite numbers, fewer than two of them, `k` outside
            1..n-1, or an unknown distance; the message names what arrived.
    """
    points = checked(vectors, k, distance)
    space = Space.of(points, distance)
    search = _faiss_search if device == "cpu" else _torch_search(device.removeprefix("torch-"))
    found = np.empty((len(points), k), dtype=np.int32)
    open_rows = []
    for rows, queries in space.queries():
        hits = search(space, queries, min(len(points), k + 1 + _MARGIN))
        certain, found[rows] = _rank(space, rows, queries, hits, k)
        open_rows.append(rows[~certain])
    _search_whole_gallery(space, np.concatenate(open_rows), found)
    return found


def _faiss_search(space: Space, queries: Float32[np.ndarray, "q d2"], count: int) -> _Hits:
    import faiss

    heap = faiss.ResultHeap(len(queries), count)
    for start, block in space.gallery():
        distance, index = faiss.knn(queries, block, min(count, len(block)))
        heap.add_result(distance, index + start)
    heap.finalize()
    return heap.D, heap.I


def _torch_search(device: str) -> Callable[[Space, Float32[np.ndarray, "q d2"], int], _Hits]:
    import torch

    if torch.get_float32_matmul_precision() != "highest":
        raise ValueError(
            "neighbours need full fp32: call torch.set_float32_matmul_precision('highest') first"
        )
    resident: list[tuple[int, torch.Tensor]] = []

    def search(space: Space, queries: Float32[np.ndarray, "q d2"], count: int) -> _Hits:
        blocks = resident or ((start, torch.from_numpy(block).to(device)) for start, block in space.gallery())
        asked = torch.from_numpy(queries).to(device)
        best, place = (
            torch.empty(len(asked), 0, device=device),
            torch.empty(len(asked), 0, dtype=torch.long, device=device),
        )
        kept = []
        for start, block in blocks:
            squares = asked.square().sum(1, keepdim=True) + block.square().sum(1)
            distance = torch.addmm(squares, asked, block.T, alpha=-2).clamp_(min=0)
            index = torch.arange(start, start + len(block), device=device).expand(len(asked), -1)
            best, order = torch.cat([best, distance], 1).topk(
                min(count, best.shape[1] + len(block)), 1, largest=False
            )
            place = torch.cat([place, index], 1).gather(1, order)
            kept.append((start, block))
        if torch.device(device).type != "cpu":
            resident[:] = kept
        return best.cpu().numpy(), place.cpu().numpy()

    return search


def _rank(
    space: Space, rows: Int[np.ndarray, " q"], queries: Float32[np.ndarray, "q d2"], hits: _Hits, k: int
) -> tuple[Bool[np.ndarray, " q"], Int[np.ndarray, "q k"]]:
    """Which rows are certain to have their true neighbours, and the candidates in their true order."""
    distance, index = hits[0].astype(np.float64), hits[1]
    limit = distance[:, -1].copy()  # whatever is no candidate lies at this fp32 distance or beyond
    error = bound = space.error(2 * np.linalg.norm(queries, axis=1) + np.sqrt(limit))
    distance[index == rows[:, None]] = np.inf
    distance, index = _sorted(distance, index)
    if space.plain:  # differences in fp32: their rounding error is relative to the distance itself
        row, place = np.nonzero(_undecided(distance, error, k))
        distance[row, place] = space.distances(rows[row], index[row, place], np.float32)
        distance, index = _sorted(distance, index)
        error = np.minimum(error, space.error(np.sqrt(limit + error)))
    row, place = np.nonzero(_undecided(distance, error, k))
    distance[row, place] = space.distances(rows[row], index[row, place])
    order = np.lexsort((index, distance), axis=1)[:, :k]
    last = np.take_along_axis(distance, order[:, -1:], 1)[:, 0]
    certain = (limit > last + 2 * bound) | (index.shape[1] == len(space.vectors))
    return certain, np.take_along_axis(index, order, 1)


def _sorted(distance: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(distance, axis=1, kind="stable")
    return np.take_along_axis(distance, order, 1), np.take_along_axis(index, order, 1)


def _undecided(
    distance: Float64[np.ndarray, "q c"], error: Float64[np.ndarray, " q"], k: int
) -> Bool[np.ndarray, "q c"]:
    """Candidates among which rounding could change the order of the first `k`; `distance` rises along a
    row."""
    with np.errstate(invalid="ignore"):
        close = np.diff(distance, axis=1) <= 2 * error[:, None]
    close[:, k - 1 :] = np.logical_and.accumulate(close[:, k - 1 :], axis=1)
    undecided = np.zeros(distance.shape, dtype=bool)
    undecided[:, :-1] |= close
    undecided[:, 1:] |= close
    return undecided


def _search_whole_gallery(space: Space, rows: Int[np.ndarray, " r"], found: Int[np.ndarray, "n k"]) -> None:
    """Fill in `found` for some rows from the whole gallery; equal rows are searched once."""
    k = found.shape[1]
    groups: dict[bytes, list[int]] = {}
    for row in rows.tolist():
        groups.setdefault(space.vectors[row].tobytes(), []).append(row)
    for members in groups.values():
        query = space.coarse(members[0], members[0] + 1)
        parts = [
            (((block - query) ** 2).sum(1), np.linalg.norm(block, axis=1)) for _, block in space.gallery()
        ]
        distance, length = (np.concatenate(part) for part in zip(*parts, strict=True))
        error = space.error(length + np.linalg.norm(query))
        bound = np.partition(distance + error, k)[k]
        reachable = np.flatnonzero(distance - error <= bound)
        exact = space.distances(np.full(len(reachable), members[0]), reachable)
        ranked = reachable[np.lexsort((reachable, exact))]
        for row in members:
            found[row] = ranked[ranked != row][:k]
