"""Molmo, by its own code: the whole picture and overlapping crops; a token attends to the patches of a small block."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.connectors.boxes import centred
from connector_bench.connectors.family import Batch, Family, PictureSize, Placement
from connector_bench.connectors.layouts import square
from connector_bench.connectors.uneven import placement_of, side_by_side, uneven_tiles
from connector_bench.types import Box

if TYPE_CHECKING:
    from jaxtyping import Int

    from connector_bench.connectors.uneven import Part


def _run(model: Any, inputs: Mapping[str, Any]) -> Any:
    return model.model.vision_backbone(inputs["images"], inputs.get("image_masks"))


def _place(batch: Batch) -> list[Placement]:
    """The padded picture as a whole, then the canvas that its crops cover, each patch once.

    Raises:
        ValueError: the patches of a crop are no whole blocks.
    """
    numbers = batch.inputs["image_input_idx"].cpu().numpy()[0]
    cells, pooled = square(numbers.shape[1])[0], batch.pre_shapes[0][1]
    block = math.isqrt(pooled)
    if block**2 != pooled:
        raise ValueError(f"a token is pooled from {pooled} patches, which are no square block")
    pixels = math.isqrt(batch.inputs["images"].shape[-1] // 3)
    kept = (numbers >= 0).reshape(-1, cells, cells)
    tokens = np.arange(numbers.size).reshape(kept.shape)
    whole, canvas = tokens[0], _stitched(tokens[1:], kept[1:])
    parts: list[Part] = []
    for view in (whole, canvas) if len(tokens) > 1 else (whole,):
        extent = view.shape[0] * block * pixels, view.shape[1] * block * pixels
        inside = np.arange(pooled).reshape(1, 1, block, block)
        patches = side_by_side(view[..., None, None] * pooled + inside)
        parts += uneven_tiles(patches, (block, block), view, _padded(batch.sizes[0], extent))
    return [placement_of(parts)]


def _stitched(
    tokens: Int[np.ndarray, "crops rows columns"], kept: Int[np.ndarray, "crops rows columns"]
) -> Int[np.ndarray, "rows columns"]:
    """The tokens of all crops that the language model gets, in one grid.

    A crop in the first column keeps its left margin, the others leave theirs to their neighbour.
    """
    columns = len(tokens) // max(int(kept[:, :, 0].any(axis=1).sum()), 1)
    parts = [own[mask.any(axis=1)][:, mask.any(axis=0)] for own, mask in zip(tokens, kept, strict=True)]
    return np.block([parts[row : row + columns] for row in range(0, len(parts), columns)])


def _padded(size: PictureSize, canvas: PictureSize) -> Box:
    """A canvas of this size around the picture, which is scaled to fit in its middle."""
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    return centred((int(size[0] * scale), int(size[1] * scale)), canvas)


MOLMO = Family(
    model_types=("molmo",),
    connector="attention pool + gated mlp",
    modules=("model.vision_backbone.image_pooling_2d", "model.vision_backbone.image_projector"),
    pre_argument=1,
    place=_place,
    run=_run,
    one_at_a_time=True,
    dropped="patches in the margins of crops, which another crop shows again",
    note="the language model adds the tokens to the embeddings of their placeholders",
)

FAMILIES = (MOLMO,)
