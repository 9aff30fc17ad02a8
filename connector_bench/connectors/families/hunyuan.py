"""HunYuan-VL: two convolutions and a linear layer a picture, between learnt tokens for begin, newline and end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from connector_bench.connectors import layouts
from connector_bench.connectors.family import Batch, Family, Placement


def _place(batch: Batch) -> list[Placement]:
    """Patches in raster order; each row of cells ends in a newline token, and two tokens stand around a picture."""
    grids = [(int(h), int(w)) for _, h, w in batch.inputs["image_grid_thw"].tolist()]
    merge = int(batch.config.vision_config.spatial_merge_size)
    placements, first = [], 0
    for where in layouts.packed(grids, merge):
        rows, columns = layouts.merged(where.layout.tiles[0].pre_grid, merge)
        cells = np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)
        placements.append(replace(where, post_rows=first + 1 + cells.reshape(-1)))
        first += rows * (columns + 1) + 2
    return placements


HUNYUAN_VL = Family(
    model_types=("hunyuan_vl",),
    connector="strided convolutions + linear",
    modules=("model.vision_tower.patch_merger",),
    place=_place,
    leading_norm="before_rms",
    note="the connector's learnt tokens (begin, end, a newline a row) have no place and are left out of post",
)

FAMILIES = (HUNYUAN_VL,)
