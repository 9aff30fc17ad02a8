"""Step 3.7: two strided convolutions at the end of the tower and one linear layer; cut-outs, then the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector_bench.connectors.boxes import grid_boxes, within
from connector_bench.connectors.family import Batch, Family, PictureSize, Placement
from connector_bench.connectors.views import by_call
from connector_bench.types import Box

if TYPE_CHECKING:
    from torch import Tensor


def _place(batch: Batch) -> list[Placement]:
    return by_call(batch, [_views(batch, size) for size in batch.sizes])


def _views(batch: Batch, size: PictureSize) -> list[tuple[int, Box]]:
    """Cut-outs row by row of a stretched picture, then the picture; a narrow one is padded at the right or below."""
    height, width = size
    planned = batch.image_processor._plan_patches(
        width, height, int(batch.image_processor.size["height"]), int(batch.option("patch_size"))
    )
    *_, window, columns, rows, padded = planned
    whole = (0.0, 0.0, max(size) / width, max(size) / height) if padded else (0.0, 0.0, 1.0, 1.0)
    cut_outs = grid_boxes((rows, columns)) if window else []
    return [*((1, within(whole, box)) for box in cut_outs), (0, whole)]


def _flattened(tokens: Tensor, given: Tensor) -> Tensor:
    """A feature map as it is for the next convolution, as rows for the linear layer."""
    return tokens if given.dim() == tokens.dim() else tokens.flatten(2).transpose(1, 2)


STEP3P7 = Family(
    model_types=("step3p7",),
    connector="strided convolutions + linear",
    modules=(
        "model.vision_model.downsampler1",
        "model.vision_model.downsampler2",
        "model.multi_modal_projector",
    ),
    channels_first=True,
    between_modules=_flattened,
    place=_place,
    note="the convolutions at the end of the tower are measured with the module",
)

FAMILIES = (STEP3P7,)
