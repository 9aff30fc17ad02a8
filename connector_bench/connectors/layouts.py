"""How tokens lie in an image: the index arithmetic that families share. NumPy only.

Every function returns one `Placement` an image. Rows count through the connector's input (or output)
flattened to `[rows, width]`. Raster order means top left to bottom right, row by row, within each tile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from connector_bench.connectors.family import Placement
from connector_bench.types import WHOLE_PICTURE, Box, Grid, Tile, TokenLayout

if TYPE_CHECKING:
    from jaxtyping import Int


def raster(grid: Grid) -> Int[np.ndarray, " n"]:
    """Identity order: token `i` is patch `i`."""
    return np.arange(math.prod(grid))


def blocks(grid: Grid, merge: int) -> Int[np.ndarray, " n"]:
    """For each patch in raster order, its row where patches are stored block by block.

    Blocks are `merge` x `merge`, in raster order, each one raster inside. For a 4x4 grid and 2x2 blocks,
    raster patches 0, 1, 4, 5 are the rows 0, 1, 2, 3.
    """
    rows, columns = grid
    if rows % merge or columns % merge:
        raise ValueError(f"a grid of {rows}x{columns} patches cannot be cut in {merge}x{merge} blocks")
    stored = np.arange(rows * columns).reshape(rows // merge, columns // merge, merge, merge)
    return stored.transpose(0, 2, 1, 3).reshape(-1)


def windows(grid: Grid, window: int) -> Int[np.ndarray, " n"]:
    """For each cell in raster order, its row where cells are stored window by window.

    Windows are `window` x `window` cells in raster order, smaller at the right and lower edge; raster inside.
    """
    rows, columns = np.divmod(np.arange(math.prod(grid)), grid[1])
    stored = np.lexsort((columns, rows, columns // window, rows // window))
    return np.argsort(stored)


def merged(grid: Grid, merge: int) -> Grid:
    """The grid of `merge` x `merge` cells over a grid of patches; an odd last row or column is dropped."""
    return grid[0] // merge, grid[1] // merge


def tiled(
    boxes: Sequence[Sequence[Box]],
    pre_grid: Grid,
    post_grid: Grid | None,
    n_post: int,
    skip_pre: int = 0,
    skip_post: int = 0,
    pre_order: Int[np.ndarray, " n"] | None = None,
    normed_order: Int[np.ndarray, " n"] | None = None,
) -> list[Placement]:
    """Tiles of equal grids, stacked on the batch axis.

    Args:
        boxes: for each image, the place of each of its tiles.
        pre_grid: patches of one tile.
        post_grid: cells of one tile, None where connector tokens have no place.
        n_post: connector tokens of one tile that are kept.
        skip_pre: leading tokens of each tile's input that are no patches (CLS, registers).
        skip_post: leading tokens of each tile's output that have no place.
        pre_order: order of the patches within a tile, raster unless told.
        normed_order: their order behind the connector's own norm, where it is another.
    """
    order = raster(pre_grid) if pre_order is None else pre_order
    pre_stride, post_stride = skip_pre + len(order), skip_post + n_post
    placements, first = [], 0
    for places in boxes:
        tiles = tuple(Tile(pre_grid, post_grid, box) for box in places)
        index = np.arange(first, first + len(places))[:, None]
        placements.append(
            Placement(
                TokenLayout(tiles, n_post * len(places)),
                (index * pre_stride + skip_pre + order).reshape(-1),
                (index * post_stride + skip_post + np.arange(n_post)).reshape(-1),
                None if normed_order is None else (index * len(order) + normed_order).reshape(-1),
            )
        )
        first += len(places)
    return placements


def packed(
    grids: Sequence[Grid],
    merge: int = 1,
    block_order: bool = False,
    window: int | None = None,
    boxes: Sequence[Box] | None = None,
) -> list[Placement]:
    """Images of unequal size laid end to end, each a single tile.

    Args:
        grids: patches of each image, rows and columns.
        merge: side of the block of patches that one connector token covers.
        block_order: whether patches are stored block by block (otherwise raster).
        window: side in cells of the attention windows, where blocks are stored window by window.
        boxes: the place of each tile, the whole picture unless told.
    """
    placements, pre_first, post_first = [], 0, 0
    for grid, box in zip(grids, boxes or [WHOLE_PICTURE] * len(grids), strict=True):
        cells = merged(grid, merge)
        pre, post = _one_packed(grid, cells, merge, block_order, window)
        layout = TokenLayout((Tile(grid, cells, box),), math.prod(cells))
        placements.append(Placement(layout, pre_first + pre, post_first + post))
        pre_first += math.prod(grid)
        post_first += math.prod(cells)
    return placements


def _one_packed(
    grid: Grid, cells: Grid, merge: int, block_order: bool, window: int | None
) -> tuple[Int[np.ndarray, " n_pre"], Int[np.ndarray, " n_post"]]:
    pre = blocks(grid, merge) if block_order else raster(grid)
    post = raster(cells)
    if window is not None:
        post = windows(cells, window)
        pre = post[pre // merge**2] * merge**2 + pre % merge**2
    return pre, post


def masked(
    grids: Sequence[Grid], padded: Grid, n_post: int, boxes: Sequence[Sequence[Box]]
) -> list[Placement]:
    """Padded tiles before a resampler: real patches form a rectangle at the top left, queries have no place.

    Args:
        grids: real patches of each tile in batch order, rows and columns.
        padded: patches of a tile with its padding.
        n_post: queries a tile.
        boxes: for each image, the place of each of its tiles' real patches.
    """
    placements, first = [], 0
    numbers = np.arange(math.prod(padded)).reshape(padded)
    for places in boxes:
        own = grids[first : first + len(places)]
        pre = [(first + i) * math.prod(padded) + numbers[:r, :c].reshape(-1) for i, (r, c) in enumerate(own)]
        tiles = tuple(Tile(grid, None, box) for grid, box in zip(own, places, strict=True))
        layout = TokenLayout(tiles, n_post * len(places))
        post = np.arange(first * n_post, (first + len(places)) * n_post)
        placements.append(Placement(layout, np.concatenate(pre), post))
        first += len(places)
    return placements


def cells_by_tile(
    pictures: Sequence[tuple[Sequence[Box], Sequence[tuple[Grid, Grid]]]], block_order: bool = False
) -> list[Placement]:
    """Tiles of unequal size laid end to end; behind the connector's own norm, block by block.

    Args:
        pictures: for each, the places of its tiles and their grids before and after the connector.
        block_order: whether patches are stored block by block before the norm as well (otherwise raster).
    """
    placements, pre_first, post_first = [], 0, 0
    for boxes, grids in pictures:
        tiles = tuple(Tile(pre, post, box) for box, (pre, post) in zip(boxes, grids, strict=True))
        layout = TokenLayout(tiles, sum(math.prod(post) for _, post in grids))
        post_rows = np.arange(layout.n_post)
        starts = np.cumsum([0] + [math.prod(pre) for pre, _ in grids])
        in_blocks = np.concatenate(
            [
                start + blocks(pre, pre[0] // post[0])
                for start, (pre, post) in zip(starts[:-1], grids, strict=True)
            ]
        )
        pre_rows = in_blocks if block_order else np.arange(layout.n_pre)
        placements.append(
            Placement(layout, pre_first + pre_rows, post_first + post_rows, pre_first + in_blocks)
        )
        pre_first += layout.n_pre
        post_first += layout.n_post
    return placements


def square(n: int) -> Grid:
    """The square grid of `n` tokens."""
    return grid_like(n, (1, 1))


def grid_like(n: int, shape: tuple[int, int]) -> Grid:
    """The grid of `n` tokens whose rows stand to its columns as `shape`'s height to its width.

    Raises:
        ValueError: there is none.
    """
    height, width = shape
    rows = math.isqrt(n * height // width)
    if rows * rows * width != n * height or n % max(rows, 1):
        like = "square grid" if height == width else f"grid of the shape {height}x{width}"
        raise ValueError(f"{n} tokens are no {like}; declare the layout of this model")
    return rows, n // max(rows, 1)
