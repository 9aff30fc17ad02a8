"""Where patches lie in the picture, by the layout's tiles."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from connector_bench.types import Grid, Tile, TokenLayout


@lru_cache(maxsize=512)
def patch_boxes(layout: TokenLayout) -> Float[np.ndarray, "n_pre 4"]:
    """Left, top, right, bottom of every patch, as fractions of the picture; padding lies outside 0..1.

    ValueError where nobody knows where the patches lie.
    """
    if layout.unplaced:
        raise ValueError(f"nobody knows where these {layout.unplaced} patches lie")
    boxes = [_grid_boxes(tile.pre_grid, tile) for tile in layout.tiles]
    return np.concatenate(boxes) if boxes else np.zeros((0, 4))


def query_boxes(layout: TokenLayout) -> Float[np.ndarray, "n_pre 4"]:
    """By which box the attention probe asks for each patch: its own in the picture, as `patch_boxes`.

    Where nobody knows where patches lie, boxes tell their rows in the encoder's output apart and mean no place.
    """
    if not layout.unplaced:
        return patch_boxes(layout)
    side = math.isqrt(layout.unplaced - 1) + 1
    return _grid_boxes((side, side), Tile((side, side), None))[: layout.unplaced]


def _grid_boxes(grid: Grid, tile: Tile) -> np.ndarray:
    left, top, right, bottom = tile.box
    rows, columns = grid
    x = np.linspace(left, right, columns + 1)
    y = np.linspace(top, bottom, rows + 1)
    x0, y0 = np.meshgrid(x[:-1], y[:-1])
    x1, y1 = np.meshgrid(x[1:], y[1:])
    return np.stack([x0.ravel(), y0.ravel(), x1.ravel(), y1.ravel()], axis=1)


def tile_slices(layout: TokenLayout) -> list[tuple[Tile, slice]]:
    """Every tile with the slice of its patches in the encoder's order."""
    ends = np.cumsum([math.prod(tile.pre_grid) for tile in layout.tiles]).tolist()
    starts = [0, *ends[:-1]]
    return [(tile, slice(a, b)) for tile, a, b in zip(layout.tiles, starts, ends, strict=True)]
