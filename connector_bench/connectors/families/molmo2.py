"""Molmo 2: a thumbnail and overlapping crops; each connector token attends to the patches of one small window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.types import Grid, Tile, TokenLayout

if TYPE_CHECKING:
    from jaxtyping import Int

Run = tuple[slice, slice]
"""Patches and cells of one axis whose cells are all of one size."""


def _place(batch: Batch) -> list[Placement]:
    pooled, first = batch.inputs["image_token_pooling"].cpu().numpy(), 0
    window = (int(batch.option("pooling_size")[0]), int(batch.option("pooling_size")[1]))
    placements = []
    for numbers in batch.inputs["image_grids"].tolist():
        parts: list[tuple[Tile, Int[np.ndarray, " pre"], Int[np.ndarray, " post"]]] = []
        for cells in ((numbers[0], numbers[1]), (numbers[2], numbers[3])):
            count = math.prod(cells)
            parts += _tiles(pooled[first : first + count], cells, window, first)
            first += count
        tiles, pre, post = zip(*parts, strict=True)
        layout = TokenLayout(tuple(tiles), sum(len(rows) for rows in post))
        placements.append(Placement(layout, np.concatenate(pre), np.concatenate(post)))
    return placements


def _tiles(
    pooled: Int[np.ndarray, "cells patches"], cells: Grid, window: Grid, first: int
) -> Iterator[tuple[Tile, Int[np.ndarray, " pre"], Int[np.ndarray, " post"]]]:
    """Tiles over one view of the whole picture, with their rows before and after the connector.

    Windows at an edge may hold fewer patches, so a view is several tiles: its inner part, edges, corners.
    """
    patches = pooled.reshape(*cells, *window).transpose(0, 2, 1, 3).reshape(cells[0] * window[0], -1)
    real = patches >= 0
    sizes = [real.any(axis=1 - axis).reshape(cells[axis], window[axis]).sum(axis=1) for axis in (0, 1)]
    patches = patches[real.any(axis=1)][:, real.any(axis=0)]
    tokens = first + np.arange(math.prod(cells)).reshape(cells)
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
            tile = Tile((before.shape[0], before.shape[1]), (after.shape[0], after.shape[1]), box)
            yield tile, before.reshape(-1), after.reshape(-1)


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


MOLMO2 = Family(
    model_types=("molmo2",),
    connector="attention pool + gated mlp",
    modules=("model.multi_modal_projector",),
    place=_place,
    dropped="patches in the margins of crops, which another crop shows again",
    note="windows at an edge that hold fewer patches are tiles of their own",
)

FAMILIES = (MOLMO2,)
