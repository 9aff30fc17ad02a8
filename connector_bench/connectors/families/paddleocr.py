"""PaddleOCR-VL: packed patches in raster order; norm and 2x2 merge inside the connector."""

from __future__ import annotations

from connector_bench.connectors import layouts
from connector_bench.connectors.family import Batch, Family, Placement


def _place(batch: Batch) -> list[Placement]:
    grids = [(int(h), int(w)) for _, h, w in batch.inputs["image_grid_thw"].tolist()]
    return layouts.packed(grids, int(batch.config.vision_config.spatial_merge_size))


PADDLEOCR_VL = Family(
    model_types=("paddleocr_vl",),
    connector="patch merger",
    modules=("model.projector",),
    place=_place,
    leading_norm="pre_norm",
)

FAMILIES = (PADDLEOCR_VL,)
