"""The planted-patch check: change the pixels under one token, and that token must change most."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

import numpy as np

from connector_bench.connectors.base import ConnectorAdapter
from connector_bench.connectors.capture import stream
from connector_bench.types import Box, Grid, Tile, TokenLayout, TokenPair

if TYPE_CHECKING:
    from PIL.Image import Image

Side = Literal["pre", "post"]
PixelBox = tuple[int, int, int, int]


@dataclass(frozen=True)
class Cell:
    """One token of one tile, and the pixels of the original picture that it covers."""

    tile: int
    index: int
    pixels: PixelBox


@dataclass(frozen=True)
class Planted:
    """How often the planted token changed most among its tile's tokens."""

    side: Side
    cells: int
    """Those after which any of the tile's tokens had changed."""
    hits: int
    chance: float
    """Share of hits that a layout without any truth would have."""
    missed: tuple[tuple[Cell, int], ...]
    """Cells that failed, with the token that changed most instead."""

    @property
    def share(self) -> float:
        """Hits as a share of the cells tried."""
        return self.hits / self.cells if self.cells else math.nan


def planted_patches(
    adapter: ConnectorAdapter,
    image: Image,
    side: Side,
    batch_size: int = 8,
    limit: int | None = None,
    seed: int = 0,
) -> Planted:
    """Invert the pixels under each token in turn and count how often that token changes most.

    Args:
        adapter: the adapter whose layout is put to the test.
        image: an RGB picture with contrast everywhere, such as `coloured_picture`.
        side: which tokens are looked at.
        batch_size: pictures a forward pass.
        limit: at most so many cells, drawn at random; all of them unless told.
        seed: of that draw.
    """
    reference = adapter.capture([image])[0]
    cells = list(cells_of(reference.layout, side, image.size))
    if limit is not None and limit < len(cells):
        drawn = np.random.default_rng(seed).choice(len(cells), limit, replace=False)
        cells = [cells[i] for i in sorted(drawn)]
    spans = token_spans(reference.layout, side)
    changed = stream(
        adapter, ((str(i), inverted(image, cell.pixels)) for i, cell in enumerate(cells)), batch_size
    )
    pairs = (pair for batch in changed for pair in batch.pairs())
    found = [
        moved_most(reference, pair, side, spans[cell.tile]) for cell, pair in zip(cells, pairs, strict=True)
    ]
    answers = [(cell, token) for cell, token in zip(cells, found, strict=True) if token is not None]
    missed = tuple((cell, token) for cell, token in answers if token != cell.index)
    sizes = [spans[cell.tile][1] - spans[cell.tile][0] for cell, _ in answers]
    chance = float(np.mean([1 / size for size in sizes])) if sizes else math.nan
    return Planted(side, len(answers), len(answers) - len(missed), chance, missed)


def grid_of(tile: Tile, side: Side) -> Grid | None:
    """The tile's grid of encoder tokens, or of connector tokens."""
    return tile.pre_grid if side == "pre" else tile.post_grid


def token_spans(layout: TokenLayout, side: Side) -> list[tuple[int, int]]:
    """First and one past the last token of each tile."""
    sizes = [math.prod(grid_of(tile, side) or (0, 0)) for tile in layout.tiles]
    ends = list(accumulate(sizes))
    return [(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def cells_of(layout: TokenLayout, side: Side, size: tuple[int, int]) -> Iterator[Cell]:
    """Tokens that lie wholly in the picture, with their pixels; `size` is the picture's width and height."""
    for number, tile in enumerate(layout.tiles):
        grid = grid_of(tile, side)
        for index in range(math.prod(grid or (0, 0))):
            left, top, right, bottom = token_box(tile, grid or (1, 1), index)
            inside = min(right, 1) - max(left, 0), min(bottom, 1) - max(top, 0)
            area = (right - left) * (bottom - top)
            if min(inside) > 0 and inside[0] * inside[1] > 0.95 * area:
                yield Cell(number, index, to_pixels((left, top, right, bottom), size))


def token_box(tile: Tile, grid: Grid, index: int) -> Box:
    """The place of one token in the picture, as fractions of its width and height."""
    left, top, right, bottom = tile.box
    row, column = divmod(index, grid[1])
    width, height = (right - left) / grid[1], (bottom - top) / grid[0]
    return left + column * width, top + row * height, left + (column + 1) * width, top + (row + 1) * height


def to_pixels(box: Box, size: tuple[int, int]) -> PixelBox:
    """A box in whole pixels, at least one pixel wide and high."""
    left, top = max(round(box[0] * size[0]), 0), max(round(box[1] * size[1]), 0)
    right, bottom = min(round(box[2] * size[0]), size[0]), min(round(box[3] * size[1]), size[1])
    return left, top, max(right, left + 1), max(bottom, top + 1)


def inverted(image: Image, pixels: PixelBox) -> Image:
    """The picture with the colours inside the box inverted."""
    from PIL import Image as pillow

    values = np.array(image)
    left, top, right, bottom = pixels
    values[top:bottom, left:right] = 255 - values[top:bottom, left:right]
    return pillow.fromarray(values)


def moved_most(before: TokenPair, after: TokenPair, side: Side, span: tuple[int, int]) -> int | None:
    """Index within the tile of the token that changed most in Euclidean distance.

    None where no token changed, as behind a connector whose weights are zero, or a change is not finite.
    """
    first, last = span
    difference = (getattr(after, side)[first:last] - getattr(before, side)[first:last]).norm(dim=-1)
    if not bool(difference.isfinite().all()) or not bool(difference.any()):
        return None
    return int(difference.argmax())


def sides_of(layout: TokenLayout) -> tuple[Side, ...]:
    """The sides of the connector whose tokens have places."""
    if layout.unplaced:
        return ()
    return ("pre", "post") if layout.has_places else ("pre",)


def check(adapter: ConnectorAdapter, image: Image, limit: int | None = None) -> Iterable[Planted]:
    """The check on every side whose tokens have places."""
    sides = sides_of(adapter.capture([image])[0].layout)
    return [planted_patches(adapter, image, side, limit=limit) for side in sides]
