"""Phi-3-vision and Phi-3.5-vision, by their own code: 2x2 merge and a perceptron over a canvas, then the whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.connectors.family import Batch, Family, PictureSize, Placement
from connector_bench.connectors.uneven import placement_of, side_by_side, uneven_tiles
from connector_bench.types import Box, Grid

if TYPE_CHECKING:
    from jaxtyping import Int

    from connector_bench.connectors.uneven import Part

EMBED = "model.vision_embed_tokens"
PLACEHOLDER = -1
"""What the model's own processor writes for each token of the first picture."""


def _cells(config: Any) -> int:
    """Merged cells a side of one crop."""
    return math.isqrt(int(config.img_processor["num_img_tokens"]))


def _grids(config: Any, canvas: PictureSize, crop: int) -> tuple[Grid, Grid]:
    """Cells of the canvas and of the whole picture, which is one crop."""
    side = _cells(config)
    return (canvas[0] // crop * side, canvas[1] // crop * side), (side, side)


def _run(model: Any, inputs: Mapping[str, Any]) -> Any:
    """The module that holds tower and connector, on as many placeholders as the picture has tokens."""
    import torch

    pixels = inputs["pixel_values"]
    (canvas,) = torch.as_tensor(inputs["image_sizes"]).tolist()
    grids = _grids(model.config, canvas, pixels.shape[-1])
    tokens = 1 + sum(rows * (columns + 1) for rows, columns in grids)
    ids = torch.full((1, tokens), PLACEHOLDER, device=pixels.device)
    return model.model.vision_embed_tokens(ids, pixels, inputs["image_sizes"])


def _place(batch: Batch) -> list[Placement]:
    """The padded canvas across its crops, then the same in one crop; newlines and the separator are no places."""
    (canvas,) = ([int(edge) for edge in size] for size in batch.inputs["image_sizes"])
    crops, whole = _grids(batch.config, (canvas[0], canvas[1]), batch.inputs["pixel_values"].shape[-1])
    box, behind = _padded(batch.sizes[0], (canvas[0], canvas[1])), crops[0] * (crops[1] + 1) + 1
    parts: list[Part] = []
    for grid, first in ((crops, 0), (whole, behind)):
        tokens = first + np.arange(grid[0] * (grid[1] + 1)).reshape(grid[0], -1)[:, :-1]
        parts += uneven_tiles(side_by_side(_merged(tokens)), (2, 2), tokens, box)
    return [placement_of(parts)]


def _merged(tokens: Int[np.ndarray, "rows columns"]) -> Int[np.ndarray, "rows columns 2 2"]:
    """The four patches that lie side by side in each row of the connector's input."""
    return tokens[..., None, None] * 4 + np.arange(4).reshape(1, 1, 2, 2)


def _padded(size: PictureSize, canvas: PictureSize) -> Box:
    """The canvas around the picture, which fills its longer side and lies in the middle of the other."""
    height, width = size
    if width >= height:
        shown = int(canvas[1] / (width / height))
        above = int((canvas[0] - shown) / 2)
        return 0.0, -above / shown, 1.0, (canvas[0] - above) / shown
    shown = int(canvas[0] / (height / width))
    before = int((canvas[1] - shown) / 2)
    return -before / shown, 0.0, (canvas[1] - before) / shown, 1.0


def _crops_first(config: Any) -> bool:
    """Whether the crops come before the whole picture, as in every published checkpoint."""
    embedding = (getattr(config, "embd_layer", None) or {}).get("image_embd_layer", {})
    order = embedding.get("hd_transform_order") or (getattr(config, "embd_layer", None) or {}).get(
        "hd_transform_order", "sub_glb"
    )
    return bool(order == "sub_glb")


PHI3_V = Family(
    model_types=("phi3_v",),
    connector="2x2 merge + mlp",
    modules=(f"{EMBED}.img_projection",),
    place=_place,
    tokens_per_row=4,
    run=_run,
    image_processor_alone=True,
    one_at_a_time=True,
    dropped="CLS (before the connector), newline and separator tokens",
    note="the padding of the canvas is measured; it lies outside the picture",
    when=_crops_first,
)

FAMILIES = (PHI3_V,)
