"""Pictures whose tiles several calls of the connector share out: all wholes in one call, all cut-outs in the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from connector_bench.connectors.boxes import centred, grid_boxes
from connector_bench.connectors.family import Batch, PictureSize, Placement
from connector_bench.connectors.places import tokens_of
from connector_bench.connectors.tilings import optimal_grid
from connector_bench.types import WHOLE_PICTURE, Box, Grid, Tile, TokenLayout


@dataclass
class _Call:
    """Tiles of equal size that passed the connector together."""

    pre_grid: Grid
    post_grid: Grid | None
    n_post: int
    """Connector tokens a tile."""
    pre_stride: int
    """Rows of the input a tile."""
    pre_first: int
    post_first: int
    tiles: int
    taken: int = 0

    def next_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the next tile on both sides."""
        pre = self.pre_first + self.taken * self.pre_stride + np.arange(math.prod(self.pre_grid))
        post = self.post_first + self.taken * self.n_post + np.arange(self.n_post)
        self.taken += 1
        return pre, post


def _calls(batch: Batch, queries: bool) -> list[_Call]:
    found: list[_Call] = []
    pre_first = post_first = 0
    for pre, post in zip(batch.pre_shapes, batch.post_shapes, strict=True):
        n_post = math.prod(post[1:-1])
        patches = (pre[0], pre[1] - n_post, pre[2]) if queries else pre
        grid, stride = tokens_of(patches), math.prod(pre[1:-1])
        cells = None if queries else tokens_of(post)
        found.append(_Call(grid, cells, n_post, stride, pre_first, post_first, pre[0]))
        pre_first += pre[0] * stride
        post_first += post[0] * n_post
    return found


def by_call(
    batch: Batch, pictures: Sequence[Sequence[tuple[int, Box]]], queries: bool = False
) -> list[Placement]:
    """Placements of pictures whose tiles lie in several calls.

    Args:
        batch: with one shape a call on both sides; square tiles unless the input has rows and columns.
        pictures: for each, its tiles in the language model's order: number of the call, and place in the picture.
        queries: whether queries follow the patches of each tile's input; what they become has no place.

    Raises:
        ValueError: the tiles are not as many as the connector received, naming both numbers.
    """
    calls = _calls(batch, queries)
    expected = [
        sum(call == number for tiles in pictures for call, _ in tiles) for number in range(len(calls))
    ]
    if expected != [call.tiles for call in calls] or any(c >= len(calls) for t in pictures for c, _ in t):
        raise ValueError(
            f"{len(pictures)} pictures should make {expected} tiles in the connector's calls, "
            f"it received {[call.tiles for call in calls]}"
        )
    placements = []
    for views in pictures:
        rows = [calls[number].next_rows() for number, _ in views]
        tiles = tuple(Tile(calls[number].pre_grid, calls[number].post_grid, box) for number, box in views)
        n_post = sum(len(post) for _, post in rows)
        pre_rows, post_rows = (np.concatenate(side) for side in zip(*rows, strict=True))
        placements.append(Placement(TokenLayout(tiles, n_post), pre_rows, post_rows))
    return placements


def deepseek_views(batch: Batch) -> list[list[tuple[int, Box]]]:
    """Tiles row by row where a picture is larger than one, from the second call; then the padded whole, the first."""
    return [_deepseek(batch, size) for size in batch.sizes]


def _deepseek(batch: Batch, size: PictureSize) -> list[tuple[int, Box]]:
    tile, crops = int(batch.option("tile_size")), bool(batch.option("crop_to_patches", True))
    local: list[Box] = []
    if crops and max(size) > tile:
        local = grid_boxes(optimal_grid(batch, size, (tile, tile)))
    return [*((1, box) for box in local), (0, _padded(batch, size, crops))]


def _padded(batch: Batch, size: PictureSize, crops: bool) -> Box:
    """The square that a picture is padded to; without tiles, small squares are stretched to by some processors."""
    squeezed = batch.option("maximum_pad_value")
    side = int(batch.image_processor.size["height"])
    if squeezed is not None and not crops and side <= int(squeezed):
        return WHOLE_PICTURE
    scaled = tuple(round(edge * side / max(size)) for edge in size)
    return centred((scaled[0], scaled[1]), (max(scaled), max(scaled)))
