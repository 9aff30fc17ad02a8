"""MiniCPM-V 4.6, 4.7 and MiniCPM-OCR: the whole picture, then slices; a perceptron over 2x2 blocks of each tile."""

from __future__ import annotations

import math

from connector_bench.connectors.boxes import grid_boxes
from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.connectors.layouts import cells_by_tile, merged
from connector_bench.types import WHOLE_PICTURE


def _place(batch: Batch) -> list[Placement]:
    """Tiles of unequal size; each call of the perceptron receives a tile's patches block by block."""
    inside = 1 if batch.config.downsample_mode == "4x" else 2
    merge = int(batch.config.merge_kernel_size[0])
    grids = iter([merged((int(h), int(w)), inside) for h, w in batch.inputs["target_sizes"].tolist()])
    pictures = []
    for rows, columns in batch.inputs["grids"]:
        boxes = [WHOLE_PICTURE, *grid_boxes((rows, columns))]
        own = [next(grids) for _ in boxes]
        pictures.append((boxes, [(grid, merged(grid, merge)) for grid in own]))
    return cells_by_tile(pictures, block_order=True)


MINICPM = Family(
    model_types=("minicpmv4_6", "minicpmv4_7", "minicpm_ocr"),
    connector="patch merger",
    modules=("model.merger.mlp.0",),
    place=_place,
    leading_norm="pre_norm",
    tokens_per_row=lambda config: math.prod(config.merge_kernel_size),
    note="the tower itself merges 2x2 patches between two of its layers unless downsample_mode is 4x; that is left out",
    when=lambda config: int(getattr(config, "merger_times", 1)) == 1,
)

FAMILIES = (MINICPM,)
