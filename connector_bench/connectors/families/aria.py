"""Aria: learned queries attend to the patches of a padded picture; they have no place in it."""

from __future__ import annotations

from connector_bench.connectors.boxes import within
from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.connectors.layouts import masked
from connector_bench.types import WHOLE_PICTURE


def _place(batch: Batch) -> list[Placement]:
    patch = int(batch.config.vision_config.patch_size)
    pixels = batch.inputs["pixel_mask"].bool()
    heights, widths = pixels.any(2).sum(1).tolist(), pixels.any(1).sum(1).tolist()
    grids = [(-(-h // patch), -(-w // patch)) for h, w in zip(heights, widths, strict=True)]
    boxes = [
        [within(WHOLE_PICTURE, (0.0, 0.0, columns * patch / w, rows * patch / h))]
        for (rows, columns), h, w in zip(grids, heights, widths, strict=True)
    ]
    padded = pixels.shape[1] // patch, pixels.shape[2] // patch
    return masked(grids, padded, batch.post_shapes[0][1], boxes)


ARIA = Family(
    model_types=("aria",),
    connector="resampler",
    modules=("model.multi_modal_projector",),
    place=_place,
    resamples=True,
    dropped="padding",
)

FAMILIES = (ARIA,)
