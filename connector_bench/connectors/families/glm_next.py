"""GLM-OCR and GLM-5-Next: GLM-4.1V's convolution and gated perceptron; the latter pads pictures below and right."""

from __future__ import annotations

from dataclasses import replace

from connector_bench.connectors import layouts
from connector_bench.connectors.families.glm4v import GLM4V
from connector_bench.connectors.family import Batch, PictureSize, Placement
from connector_bench.types import WHOLE_PICTURE, Box


def _place(batch: Batch) -> list[Placement]:
    grids = [(int(h), int(w)) for _, h, w in batch.inputs["image_grid_thw"].tolist()]
    boxes = [_padded(batch, size) for size in batch.sizes]
    merge = int(batch.config.vision_config.spatial_merge_size)
    return layouts.packed(grids, merge, block_order=True, boxes=boxes)


def _padded(batch: Batch, size: PictureSize) -> Box:
    """The padded canvas as fractions of the picture, seen on a white one, since the padding is black."""
    if not batch.option("do_resize", True):
        return WHOLE_PICTURE
    import torch

    factor = batch.option("patch_size") * batch.option("merge_size") * batch.option("patch_expand_factor")
    limits = {name: batch.option(name) for name in ("min_image_tokens", "max_image_tokens")}
    (canvas,) = batch.image_processor.resize(
        torch.full((1, 1, *size), 255, dtype=torch.uint8),
        resample=batch.option("resample"),
        factor=factor,
        temporal_factor=batch.option("temporal_patch_size"),
        **limits,
    )[0]
    shown = canvas > 127
    height, width = int(shown.any(1).sum()), int(shown.any(0).sum())
    return 0.0, 0.0, canvas.shape[1] / width, canvas.shape[0] / height


GLM_OCR = replace(GLM4V, model_types=("glm_ocr",))

GLM5_NEXT = replace(
    GLM4V,
    model_types=("glm5_next",),
    place=_place,
    note="patches of the padding are measured: the language model receives them",
)

FAMILIES = (GLM_OCR, GLM5_NEXT)
