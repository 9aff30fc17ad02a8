"""Idefics2: a perceiver resampler over patches of padded pictures; its queries have no place in the image."""

from __future__ import annotations

from connector_bench.connectors.boxes import grid_boxes, within
from connector_bench.connectors.family import Batch, Family, PictureSize, Placement
from connector_bench.connectors.layouts import masked
from connector_bench.types import WHOLE_PICTURE, Box


def _place(batch: Batch) -> list[Placement]:
    patch = int(batch.config.vision_config.patch_size)
    pixels = batch.inputs["pixel_attention_mask"].bool()
    real = (batch.inputs["pixel_values"] != 0).flatten(2).any(-1)
    heights, widths = pixels.any(3).sum(2).tolist(), pixels.any(2).sum(2).tolist()
    kept = [
        [(height, width) for height, width, is_real in zip(*columns, strict=True) if is_real]
        for columns in zip(heights, widths, real.tolist(), strict=True)
    ]
    padded = pixels.shape[2] // patch, pixels.shape[3] // patch
    grids = [(h // patch, w // patch) for row in kept for h, w in row]
    return masked(grids, padded, batch.post_shapes[0][1], [_boxes(row, patch) for row in kept])


def _boxes(sizes: list[PictureSize], patch: int) -> list[Box]:
    """Four quarters and the whole, or the whole alone; pixels short of a patch are cut off."""
    outer = [*grid_boxes((2, 2)), WHOLE_PICTURE] if len(sizes) == 5 else [WHOLE_PICTURE] * len(sizes)
    return [
        within(box, (0.0, 0.0, width // patch * patch / width, height // patch * patch / height))
        for box, (height, width) in zip(outer, sizes, strict=True)
    ]


IDEFICS2 = Family(
    model_types=("idefics2",),
    connector="resampler",
    modules=("model.connector",),
    place=_place,
    resamples=True,
    nested=True,
    dropped="padding",
)

FAMILIES = (IDEFICS2,)
