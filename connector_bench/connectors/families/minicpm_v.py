"""MiniCPM-V up to 2.6 and MiniCPM-o (remote code): the whole picture, then slices; queries read each of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from connector_bench.connectors.boxes import grid_boxes
from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.connectors.layouts import square
from connector_bench.connectors.tilings import nearest_grid
from connector_bench.types import WHOLE_PICTURE, Grid, Tile, TokenLayout


def _place(batch: Batch) -> list[Placement]:
    """Tiles of unequal size, each padded at its end where several pass together; what queries become has no place.

    The number of slices tells their grid, since the preprocessing takes the one nearest the picture's shape.
    """
    height, width = batch.sizes[0]
    own, rows, first = [], [], 0
    for told, pre in zip(batch.grids, batch.pre_shapes, strict=True):
        for grid in _grids(told, pre):
            own.append(grid)
            rows.append(first + np.arange(math.prod(grid)))
            first += pre[1]
    boxes = [WHOLE_PICTURE]
    if len(own) > 1:
        shape = math.log(width / height)
        boxes += grid_boxes(nearest_grid(len(own) - 1, lambda one: abs(shape - math.log(one[1] / one[0]))))
    n_post = sum(math.prod(post[:-1]) for post in batch.post_shapes)
    tiles = tuple(Tile(grid, None, box) for grid, box in zip(own, boxes, strict=True))
    return [Placement(TokenLayout(tiles, n_post), np.concatenate(rows), np.arange(n_post))]


def _grids(told: Any, pre: tuple[int, ...]) -> Iterator[Grid]:
    """Rows and columns of each tile in one call, which is told one pair, one a tile, or nothing of square tiles."""
    if told is None:
        yield from [square(pre[1])] * pre[0]
        return
    pairs = told.tolist() if hasattr(told, "tolist") else list(told)
    for rows, columns in pairs if isinstance(pairs[0], (list, tuple)) else [pairs]:
        yield int(rows), int(columns)


MINICPM_V = Family(
    model_types=("minicpmv", "minicpmo"),
    connector="resampler",
    modules=("resampler",),
    grid_argument=1,
    place=_place,
    through_wrapper=True,
    resamples=True,
    note="the language model generates one token a picture, since the model slices pictures in its own chat",
)

FAMILIES = (MINICPM_V,)
