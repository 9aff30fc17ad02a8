"""Molmo 2: a thumbnail and overlapping crops; each connector token attends to the patches of one small window."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.connectors.uneven import placement_of, uneven_tiles
from connector_bench.types import Grid

if TYPE_CHECKING:
    from jaxtyping import Int

    from connector_bench.connectors.uneven import Part


def _place(batch: Batch) -> list[Placement]:
    pooled, first = batch.inputs["image_token_pooling"].cpu().numpy(), 0
    window = (int(batch.option("pooling_size")[0]), int(batch.option("pooling_size")[1]))
    placements = []
    for numbers in batch.inputs["image_grids"].tolist():
        parts: list[Part] = []
        for cells in ((numbers[0], numbers[1]), (numbers[2], numbers[3])):
            count = math.prod(cells)
            tokens = np.arange(first, first + count).reshape(cells)
            parts += uneven_tiles(_unfolded(pooled[first : first + count], cells, window), window, tokens)
            first += count
        placements.append(placement_of(parts))
    return placements


def _unfolded(
    pooled: Int[np.ndarray, "cells patches"], cells: Grid, window: Grid
) -> Int[np.ndarray, "height width"]:
    """The patches of each window where they lie in the view."""
    return (
        pooled.reshape(*cells, *window)
        .transpose(0, 2, 1, 3)
        .reshape(cells[0] * window[0], cells[1] * window[1])
    )


MOLMO2 = Family(
    model_types=("molmo2",),
    connector="attention pool + gated mlp",
    modules=("model.multi_modal_projector",),
    place=_place,
    dropped="patches in the margins of crops, which another crop shows again",
    note="windows at an edge that hold fewer patches are tiles of their own",
)

FAMILIES = (MOLMO2,)
