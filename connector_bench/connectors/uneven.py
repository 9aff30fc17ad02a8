"""Connector tokens that each cover a block of patches, where blocks at an edge hold fewer of them than others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from connector_bench.connectors.boxes import within
from connector_bench.connectors.family import Placement
from connector_bench.types import WHOLE_PICTURE, Box, Grid, Tile, TokenLayout

if TYPE_CHECKING:
    from jaxtyping import Int

    Part = tuple[Tile, Int[np.ndarray, " pre"], Int[np.ndarray, " post"]]

Run = tuple[slice, slice]
"""Patches and cells of one axis whose cells are all of one size."""


def absent_at_the_end(numbers: Int[np.ndarray, "*tiles rows columns"], block: int) -> Int[np.ndarray, ...]:
    """Grids of patch numbers filled up to whole blocks below and at the right, with -1 for what is no patch."""
    missing = [(0, 0)] * (numbers.ndim - 2) + [(0, -edge % block) for edge in numbers.shape[-2:]]
    return np.pad(numbers, missing, constant_values=-1)


def side_by_side(tiles: Int[np.ndarray, "rows columns height width"]) -> Int[np.ndarray, ...]:
    """One grid of the numbers in rows x columns grids."""
    rows, columns, height, width = tiles.shape
    return tiles.transpose(0, 2, 1, 3).reshape(rows * height, columns * width)


def uneven_tiles(
    patches: Int[np.ndarray, "height width"],
    window: Grid,
    tokens: Int[np.ndarray, "rows columns"],
    whole: Box = WHOLE_PICTURE,
) -> Iterator[Part]:
    """Tiles over one view, with their rows before and after the connector.

    Windows at an edge may hold fewer patches, so a view is several tiles: its inner part, edges, corners.

    Args:
        patches: rows of the connector's input, window by window; -1 where a window has no patch.
        window: rows and columns of a full window.
        tokens: rows of the connector's output, one a window.
        whole: where the patches that there are lie in the picture.
    """
    real, cells = patches >= 0, tokens.shape
    sizes = [real.any(axis=1 - axis).reshape(cells[axis], window[axis]).sum(axis=1) for axis in (0, 1)]
    patches = patches[real.any(axis=1)][:, real.any(axis=0)]
    height, width = patches.shape
    for own_rows, cell_rows in _runs(sizes[0].tolist()):
        for own_columns, cell_columns in _runs(sizes[1].tolist()):
            before, after = patches[own_rows, own_columns], tokens[cell_rows, cell_columns]
            box = (
                own_columns.start / width,
                own_rows.start / height,
                own_columns.stop / width,
                own_rows.stop / height,
            )
            shapes = (before.shape[0], before.shape[1]), (after.shape[0], after.shape[1])
            yield Tile(*shapes, within(whole, box)), before.reshape(-1), after.reshape(-1)


def placement_of(parts: Iterable[Part]) -> Placement:
    """The placement of one picture in these tiles, in their order."""
    tiles, pre, post = zip(*parts, strict=True)
    layout = TokenLayout(tuple(tiles), sum(len(rows) for rows in post))
    return Placement(layout, np.concatenate(pre), np.concatenate(post))


def _runs(sizes: Sequence[int]) -> Iterator[Run]:
    """Neighbouring cells of equal size along one axis."""
    cell, patch = 0, 0
    while cell < len(sizes):
        last = cell
        while last < len(sizes) and sizes[last] == sizes[cell]:
            last += 1
        n_patches = sizes[cell] * (last - cell)
        yield slice(patch, patch + n_patches), slice(cell, last)
        cell, patch = last, patch + n_patches
