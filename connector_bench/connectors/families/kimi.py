"""Kimi K2.5: patches arrive at the connector block by block; pictures are padded at the right and below."""

from __future__ import annotations

from connector_bench.connectors import layouts
from connector_bench.connectors.boxes import side
from connector_bench.connectors.family import Batch, Family, PictureSize, Placement
from connector_bench.connectors.tilings import beside
from connector_bench.types import WHOLE_PICTURE, Box


def _place(batch: Batch) -> list[Placement]:
    grids = [(int(h), int(w)) for _, h, w in batch.inputs["image_grid_thw"].tolist()]
    merge, other = (int(n) for n in batch.config.vision_config.merge_kernel_size)
    if merge != other:
        raise ValueError(f"merge_kernel_size is {merge}x{other}; a square block is needed")
    boxes = [_padded(batch, size) for size in batch.sizes]
    return layouts.packed(grids, merge, block_order=True, boxes=boxes)


def _padded(batch: Batch, size: PictureSize) -> Box:
    """The padded canvas as fractions of the picture."""
    if not batch.option("do_resize", True):
        return WHOLE_PICTURE
    (height, width), (padded_height, padded_width) = beside(batch.image_processor, "navit_resize")(
        *size,
        patch_size=batch.option("patch_size"),
        merge_kernel_size=batch.option("merge_size"),
        max_patches=batch.option("max_patches"),
        max_size_per_side=side(batch.option("size"), "max_height"),
    )
    return 0.0, 0.0, padded_width / width, padded_height / height


KIMI_K25 = Family(
    model_types=("kimi_k25",),
    connector="patch merger",
    modules=("model.mm_projector",),
    place=_place,
    leading_norm="pre_norm",
    note="patches of the padding are measured: the language model receives them",
)

FAMILIES = (KIMI_K25,)
