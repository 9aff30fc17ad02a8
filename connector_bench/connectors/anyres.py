"""Tiles of a shape-keeping enlargement that is padded to a canvas: LLaVA-NeXT, OneVision, Granite 4 Vision."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from connector_bench.connectors.boxes import centred, grid_boxes, padded_canvas, within
from connector_bench.connectors.family import Batch, PictureSize, Placement
from connector_bench.connectors.layouts import square
from connector_bench.types import WHOLE_PICTURE, Box, Grid, Tile, TokenLayout

if TYPE_CHECKING:
    from jaxtyping import Int

Span = tuple[int, int]

Canvas = Callable[[Batch, PictureSize], tuple[PictureSize, int]]
"""The canvas of a picture, and the side of its tiles, in pixels."""

Kept = Callable[[Grid, PictureSize], tuple[Span, Span]]
"""Rows and columns of a canvas's tokens that the model keeps, first and one past the last."""


def canvas_of(batch: Batch, size: PictureSize) -> tuple[PictureSize, int]:
    """The canvas that the processor chose for a picture, and the side of its tiles, in pixels."""
    pinpoints = [(int(height), int(width)) for height, width in batch.config.image_grid_pinpoints]
    return best_canvas(size, pinpoints), int(batch.config.vision_config.image_size)


def best_canvas(size: PictureSize, canvases: Sequence[PictureSize]) -> PictureSize:
    """Of canvases, the one that shows most of a picture and leaves least of itself empty."""
    from transformers.image_processing_utils import select_best_resolution

    height, width = select_best_resolution(size, [list(canvas) for canvas in canvases])
    return int(height), int(width)


def unpadded(tokens: Grid, size: PictureSize) -> tuple[Span, Span]:
    """Rows and columns of the canvas's tokens that the model keeps when it removes the padding."""
    return _without_padding(tokens, size, lambda length: int(round(length, 7)))


def unpadded_unrounded(tokens: Grid, size: PictureSize) -> tuple[Span, Span]:
    """The same as LLaVA's own code has it, which cuts where transformers rounds first."""
    return _without_padding(tokens, size, int)


def all_kept(tokens: Grid, size: PictureSize) -> tuple[Span, Span]:
    """The whole canvas, where the model does not remove the padding."""
    return (0, tokens[0]), (0, tokens[1])


def place_anyres(batch: Batch, canvas: Canvas = canvas_of, kept: Kept = unpadded) -> list[Placement]:
    """The whole picture squeezed in a square, then canvas tiles row by row, without tokens of padding.

    What the model keeps is told by the connector's tokens; the encoder's that those cover are kept with them.

    Args:
        batch: with tiles on its first axis.
        canvas: how a picture's canvas is told.
        kept: which of a canvas's tokens the model keeps.

    Raises:
        ValueError: tiles and tokens do not fit each other.
    """
    pre_grid, post_grid = square(batch.pre_shapes[0][1]), square(batch.post_shapes[0][1])
    block, rest = divmod(pre_grid[0], post_grid[0])
    if rest:
        raise ValueError(
            f"{pre_grid[0]} patches a side do not make {post_grid[0]} tokens a side in whole blocks"
        )
    placements, first = [], 0
    for size in batch.sizes:
        tiles, n_tiles = _tiles_of(size, canvas(batch, size), kept, post_grid, block)
        pre, post = (
            np.concatenate(
                [(first + number) * math.prod(grid) + rows[side] for number, (_, *rows) in tiles.items()]
            )
            for side, grid in enumerate((pre_grid, post_grid))
        )
        layout = TokenLayout(tuple(tile for tile, *_ in tiles.values()), len(post))
        placements.append(Placement(layout, pre, post))
        first += n_tiles
    if first != batch.pre_shapes[0][0]:
        raise ValueError(
            f"the pictures should make {first} tiles, the connector got {batch.pre_shapes[0][0]}"
        )
    return placements


def _tiles_of(
    size: PictureSize, canvas_and_side: tuple[PictureSize, int], kept: Kept, grid: Grid, block: int
) -> tuple[dict[int, tuple[Tile, Int[np.ndarray, " n_pre"], Int[np.ndarray, " n_post"]]], int]:
    """By number, the tiles that keep any token and what they keep on both sides; and the number of all tiles.

    `grid` are the connector's tokens of a tile, of which each covers `block` x `block` of the encoder's.
    """
    canvas, side = canvas_and_side
    whole = centred(padded_canvas(size, canvas), canvas)
    rows, columns = canvas[0] // side, canvas[1] // side
    spans_kept = kept((rows * grid[0], columns * grid[1]), size)
    found = {0: _part(grid, block, (0, grid[0]), (0, grid[1]), WHOLE_PICTURE)}
    for number, cell in enumerate(grid_boxes((rows, columns))):
        spans = [
            _cut(spans_kept[axis], divmod(number, columns)[axis] * grid[axis], grid[axis]) for axis in (0, 1)
        ]
        if all(stop > start for start, stop in spans):
            found[number + 1] = _part(grid, block, spans[0], spans[1], within(whole, cell))
    return found, 1 + rows * columns


def _without_padding(tokens: Grid, size: PictureSize, whole: Callable[[float], int]) -> tuple[Span, Span]:
    height, width = size
    rows, columns = tokens
    if width / height > columns / rows:
        cut = (rows - whole(height * (columns / width))) // 2
        return (cut, rows - cut), (0, columns)
    cut = (columns - whole(width * (rows / height))) // 2
    return (0, rows), (cut, columns - cut)


def _cut(span: Span, first: int, length: int) -> Span:
    return max(span[0] - first, 0), min(span[1] - first, length)


def _part(
    grid: Grid, block: int, rows: Span, columns: Span, box: Box
) -> tuple[Tile, Int[np.ndarray, " n_pre"], Int[np.ndarray, " n_post"]]:
    """A tile cut to some of its rows and columns, and the raster numbers of the tokens that stay on both sides."""
    part = (columns[0] / grid[1], rows[0] / grid[0], columns[1] / grid[1], rows[1] / grid[0])
    pre, post = (_cut_out(grid, rows, columns, times) for times in (block, 1))
    return Tile(pre.shape, post.shape, within(box, part)), pre.reshape(-1), post.reshape(-1)


def _cut_out(grid: Grid, rows: Span, columns: Span, times: int) -> Int[np.ndarray, "rows columns"]:
    """Raster numbers of a part of a grid that is so many times finer than the one its spans count in."""
    numbers = np.arange(math.prod(grid) * times**2).reshape(grid[0] * times, grid[1] * times)
    return numbers[rows[0] * times : rows[1] * times, columns[0] * times : columns[1] * times]
