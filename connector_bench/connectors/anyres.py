"""Tiles of a shape-keeping enlargement that is padded to a canvas: LLaVA-NeXT, OneVision."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from connector_bench.connectors.boxes import centred, grid_boxes, padded_canvas, within
from connector_bench.connectors.family import Batch, PictureSize, Placement
from connector_bench.connectors.layouts import square
from connector_bench.types import Box, Grid, Tile, TokenLayout

if TYPE_CHECKING:
    from jaxtyping import Int

Span = tuple[int, int]


def place_anyres(batch: Batch) -> list[Placement]:
    """The whole picture squeezed in a square, then canvas tiles row by row, without tokens of padding."""
    grid = square(batch.pre_shapes[0][1])
    placements, first = [], 0
    for size in batch.sizes:
        tiles, n_tiles = _tiles_of(batch, size, grid)
        kept = np.concatenate(
            [(first + number) * math.prod(grid) + rows for number, (_, rows) in tiles.items()]
        )
        layout = TokenLayout(tuple(tile for tile, _ in tiles.values()), len(kept))
        placements.append(Placement(layout, kept, kept))
        first += n_tiles
    if first != batch.pre_shapes[0][0]:
        raise ValueError(
            f"the pictures should make {first} tiles, the connector got {batch.pre_shapes[0][0]}"
        )
    return placements


def canvas_of(batch: Batch, size: PictureSize) -> tuple[PictureSize, int]:
    """The canvas that the processor chose for a picture, and the side of its tiles, in pixels."""
    from transformers.image_processing_utils import select_best_resolution

    canvas = select_best_resolution(size, [list(p) for p in batch.config.image_grid_pinpoints])
    return (int(canvas[0]), int(canvas[1])), int(batch.config.vision_config.image_size)


def _tiles_of(
    batch: Batch, size: PictureSize, grid: Grid
) -> tuple[dict[int, tuple[Tile, Int[np.ndarray, " n"]]], int]:
    """By number, the tiles that keep any token and the tokens they keep; and the number of all tiles."""
    canvas, side = canvas_of(batch, size)
    whole = centred(padded_canvas(size, canvas), canvas)
    rows, columns = canvas[0] // side, canvas[1] // side
    kept = unpadded((rows * grid[0], columns * grid[1]), size)
    found = {0: (Tile(grid, grid), np.arange(math.prod(grid)))}
    for number, cell in enumerate(grid_boxes((rows, columns))):
        spans = [_cut(kept[axis], divmod(number, columns)[axis] * grid[axis], grid[axis]) for axis in (0, 1)]
        if all(stop > start for start, stop in spans):
            found[number + 1] = _part(grid, spans[0], spans[1], within(whole, cell))
    return found, 1 + rows * columns


def unpadded(tokens: Grid, size: PictureSize) -> tuple[Span, Span]:
    """Rows and columns of the canvas's tokens that the model keeps when it removes the padding."""
    height, width = size
    rows, columns = tokens
    if width / height > columns / rows:
        cut = (rows - int(round(height * (columns / width), 7))) // 2
        return (cut, rows - cut), (0, columns)
    cut = (columns - int(round(width * (rows / height), 7))) // 2
    return (0, rows), (cut, columns - cut)


def _cut(span: Span, first: int, length: int) -> Span:
    return max(span[0] - first, 0), min(span[1] - first, length)


def _part(grid: Grid, rows: Span, columns: Span, box: Box) -> tuple[Tile, Int[np.ndarray, " n"]]:
    """A tile cut to some of its rows and columns, and the raster numbers of the tokens that stay."""
    kept = np.arange(math.prod(grid)).reshape(grid)[slice(*rows), slice(*columns)]
    part = (columns[0] / grid[1], rows[0] / grid[0], columns[1] / grid[1], rows[1] / grid[0])
    shape = (rows[1] - rows[0], columns[1] - columns[0])
    return Tile(shape, shape, within(box, part)), kept.reshape(-1)
