"""Which patches each connector token stands for.

A *cell* is the block of encoder patches that belongs to one connector token: one patch for MLP connectors,
r x r patches for pixel shuffle and patch mergers. A patch belongs to the token whose rectangle holds the
patch's centre, so grids whose ratio is no whole number work too (27 x 27 patches over 14 x 14 tokens have
cells of 2 x 2, 1 x 2, 2 x 1 and 1 x 1); cells of one shape share a probe, because they share a map from
token to patches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from connector_bench.types import Tile, TokenBatch, TokenLayout

CellShape = tuple[int, int]
"""Rows and columns of patches in a cell."""


@dataclass(frozen=True, eq=False)
class Cells:
    """All cells of one shape in one image."""

    shape: CellShape
    tokens: Int[Tensor, " n"]
    """Index of each cell's token among the connector's tokens."""
    patches: Int[Tensor, "n slots"]
    """Indices of the cell's patches among the encoder's tokens, in raster order within the cell."""


def is_placed(layout: TokenLayout) -> bool:
    """Whether every patch has a token of its own or shares one with its cell.

    False for resamplers, where nobody knows where the tokens lie, and where a tile has more tokens than patches along
    an axis: several tokens then describe one patch, and giving it only one of them would pass for loss.
    """
    return not layout.unplaced and all(_fits(tile) for tile in layout.tiles)


def _fits(tile: Tile) -> bool:
    if tile.post_grid is None:
        return False
    return tile.post_grid[0] <= tile.pre_grid[0] and tile.post_grid[1] <= tile.pre_grid[1]


@lru_cache(maxsize=512)
def cells_of(layout: TokenLayout) -> tuple[Cells, ...]:
    """The cells of a placed layout by shape, the largest first; together they hold every patch once.

    ValueError where the layout has no places, or its grids and its number of tokens disagree.
    """
    if not is_placed(layout):
        raise ValueError("this layout has no map from tokens to patches: use the attention probe")
    tokens_in_grids = sum(math.prod(tile.post_grid or (0, 0)) for tile in layout.tiles)
    if tokens_in_grids != layout.n_post:
        raise ValueError(
            f"the tiles hold {tokens_in_grids} connector tokens, the layout says {layout.n_post}"
        )
    found: dict[CellShape, tuple[list[int], list[list[int]]]] = {}
    first_patch = first_token = 0
    for tile in layout.tiles:
        _collect(tile, first_patch, first_token, found)
        first_patch += math.prod(tile.pre_grid)
        first_token += math.prod(tile.post_grid or (0, 0))
    ordered = sorted(found.items(), key=lambda item: (-math.prod(item[0]), item[0]))
    return tuple(
        Cells(shape, torch.tensor(tokens), torch.tensor(patches)) for shape, (tokens, patches) in ordered
    )


def _collect(
    tile: Tile, first_patch: int, first_token: int, found: dict[CellShape, tuple[list[int], list[list[int]]]]
) -> None:
    """Sort one tile's tokens into `found` by the shape of their cell."""
    assert tile.post_grid is not None
    columns = tile.pre_grid[1]
    row_spans = _spans(tile.pre_grid[0], tile.post_grid[0])
    column_spans = _spans(columns, tile.post_grid[1])
    for row, (top, height) in enumerate(row_spans):
        for column, (left, width) in enumerate(column_spans):
            tokens, patches = found.setdefault((height, width), ([], []))
            tokens.append(first_token + row * tile.post_grid[1] + column)
            patches.append(
                [first_patch + (top + r) * columns + left + c for r in range(height) for c in range(width)]
            )


def _spans(patches: int, tokens: int) -> list[tuple[int, int]]:
    """First patch and number of patches of every token along one axis, by the patches' centres."""
    owner = [((2 * patch + 1) * tokens) // (2 * patches) for patch in range(patches)]
    return [(owner.index(token), owner.count(token)) for token in range(tokens)]


@dataclass(frozen=True, eq=False)
class CellRows:
    """All cells of one shape in some images of a batch, in their order."""

    shape: CellShape
    tokens: Int[np.ndarray, " n"]
    """Row of each cell's token among the batch's."""
    patches: Int[np.ndarray, "n slots"]

    def x(self, post: Float[Tensor, "rows_post d"]) -> Float[Tensor, "n d"]:
        """The cells' tokens."""
        return post.index_select(0, on_device(self.tokens, post.device))

    def y(self, pre: Float[Tensor, "rows_pre d"]) -> Float[Tensor, "n d_out"]:
        """The patches of each cell, end to end."""
        rows = pre.index_select(0, on_device(self.patches.reshape(-1), pre.device))
        return rows.view(len(self.tokens), -1)


def cell_rows(batch: TokenBatch, positions: Sequence[int]) -> list[CellRows]:
    """The cells of these images of a batch by shape, in the order in which shapes are met."""
    found: dict[CellShape, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    for position in positions:
        first_patch, first_token = batch.pre_rows[position].start, batch.post_rows[position].start
        for cells in cells_of(batch.layouts[position]):
            tokens, patches = found.setdefault(cells.shape, ([], []))
            tokens.append(cells.tokens.numpy() + first_token)
            patches.append(cells.patches.numpy() + first_patch)
    return [CellRows(shape, np.concatenate(a), np.concatenate(b)) for shape, (a, b) in found.items()]


def on_device(index: Shaped[np.ndarray, ...], device: torch.device) -> Shaped[Tensor, ...]:
    """Numbers, such as those of rows, on a device, without waiting for it."""
    rows = torch.from_numpy(index)
    return rows.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else rows.to(device)
