"""The token grid of a picture, drawn over it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from connector_bench.connectors.planted import Side, grid_of, token_box
from connector_bench.types import Tile, TokenLayout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

NUMBERED = 400
"""Tiles with more tokens than this are drawn without numbers."""


def draw_tokens(image: Image, layout: TokenLayout) -> Figure:
    """One panel a tile: thin lines around encoder tokens, thick ones and numbers for connector tokens.

    Tokens are numbered in the order of the connector's output; where they have no place, encoder tokens are.
    """
    from matplotlib.figure import Figure

    columns = min(3, len(layout.tiles))
    rows = math.ceil(len(layout.tiles) / columns)
    figure = Figure(
        figsize=(4 * columns, 4 * rows * image.height / image.width + 0.4 * rows), layout="constrained"
    )
    first = 0
    for number, tile in enumerate(layout.tiles):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.imshow(image)
        first += _draw_tile(axes, tile, number, first, image.size)
    return figure


def _draw_tile(axes: Axes, tile: Tile, number: int, first: int, size: tuple[int, int]) -> int:
    """Draw one tile; the count of its numbered tokens is returned."""
    side: Side = "pre" if tile.post_grid is None else "post"
    _lines(axes, tile, "pre", size, "#ffffff", 0.5)
    if side == "post":
        _lines(axes, tile, "post", size, "#d62728", 1.4)
    grid = grid_of(tile, side) or (0, 0)
    count = math.prod(grid)
    for index in range(count if count <= NUMBERED else 0):
        left, top, right, bottom = token_box(tile, grid, index)
        middle = (left + right) / 2 * size[0], (top + bottom) / 2 * size[1]
        axes.annotate(
            str(first + index),
            middle,
            ha="center",
            va="center",
            fontsize=max(4, 60 / max(grid)),
            color="#d62728",
        )
    axes.set_title(f"tile {number}: {tile.pre_grid[0]}x{tile.pre_grid[1]} to {_words(tile)}", fontsize=8)
    axes.set_axis_off()
    axes.margins(0.02)
    return count


def _words(tile: Tile) -> str:
    return "queries without a place" if tile.post_grid is None else f"{tile.post_grid[0]}x{tile.post_grid[1]}"


def _lines(axes: Axes, tile: Tile, side: Side, size: tuple[int, int], colour: str, width: float) -> None:
    grid = grid_of(tile, side) or (1, 1)
    left, top, right, bottom = (value * size[i % 2] for i, value in enumerate(tile.box))
    across = [left + (right - left) * i / grid[1] for i in range(grid[1] + 1)]
    down = [top + (bottom - top) * i / grid[0] for i in range(grid[0] + 1)]
    axes.vlines(across, top, bottom, colors=colour, linewidths=width)
    axes.hlines(down, left, right, colors=colour, linewidths=width)
