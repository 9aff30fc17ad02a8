"""Phi-4 multimodal: average pooling of SigLIP's patches, then a perceptron; crops of a padded canvas, and the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.types import Grid, Tile, TokenLayout

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

EMBED = "model.embed_tokens_extend.image_embed"


def _layer(config: Any) -> str:
    """The layer of the tower whose output is pooled; its states count from the embeddings on."""
    vision = config.vision_config
    index = int(vision.feature_layer)
    last = index - 1 if index > 0 else int(vision.num_hidden_layers) + index
    return f"{EMBED}.img_processor.encoder.layers.{last}"


def _used(inputs: Mapping[str, Any], number: int, crop: int) -> tuple[Grid, Grid]:
    """Crops of one picture, rows and columns; and pooled cells of the canvas that are no padding."""
    rows, columns = (int(edge) // crop for edge in inputs["image_sizes"][number])
    masks = inputs["image_attention_mask"][number, 1 : 1 + rows * columns, ::2, ::2]
    side = masks.shape[-1]
    canvas = masks.reshape(rows, columns, side, side).transpose(1, 2).reshape(rows * side, columns * side)
    return (rows, columns), (int(canvas[:, 0].sum()), int(canvas[0].sum()))


def _run(model: Any, inputs: Mapping[str, Any]) -> Any:
    """The module that holds tower and connector, which writes what they give in the embeddings of image tokens."""
    import torch

    inner, vision = getattr(model, "model", model), model.config.vision_config
    half = int(vision.crop_size) // int(vision.patch_size) // 2
    used = [_used(inputs, number, int(vision.crop_size))[1] for number in range(len(inputs["image_sizes"]))]
    tokens = sum(rows * (columns + 1) + 1 + half * (half + 1) for rows, columns in used)
    pixels = inputs["image_pixel_values"]
    return inner.embed_tokens_extend.image_embed(
        input_ids=torch.full((1, tokens), vision.image_token_id, device=pixels.device),
        inputs_embeds=pixels.new_zeros(1, tokens, model.config.hidden_size),
        image_pixel_values=pixels,
        image_sizes=inputs["image_sizes"],
        image_attention_mask=inputs["image_attention_mask"],
    )


def _place(batch: Batch) -> list[Placement]:
    """The canvas without its padding as one tile, then the padded canvas squeezed in a crop."""
    vision = batch.config.vision_config
    crop, patch = int(vision.crop_size), int(vision.patch_size)
    side, rest = divmod(crop // patch, 2)
    if rest:
        raise ValueError(
            f"crops of {crop // patch} patches a side are no whole blocks of 2x2; the number must be even"
        )
    (height, width), canvas = batch.sizes[0], [int(edge) for edge in batch.inputs["image_sizes"][0]]
    crops, used = _used(batch.inputs, 0, crop)
    scale = min(canvas[0] / height, canvas[1] / width)
    shown = int(height * scale), int(width * scale)
    numbers = 4 * side**2 * (1 + np.arange(crops[0] * crops[1])).reshape(*crops, 1, 1)
    within = np.arange(4 * side**2).reshape(2 * side, 2 * side)
    pre = (numbers + within).transpose(0, 2, 1, 3).reshape(2 * side * crops[0], 2 * side * crops[1])
    pre = pre[: 2 * used[0], : 2 * used[1]]
    parts = Tile(pre.shape, used, (0, 0, 2 * patch * used[1] / shown[1], 2 * patch * used[0] / shown[0]))
    whole = Tile((2 * side, 2 * side), (side, side), (0, 0, canvas[1] / shown[1], canvas[0] / shown[0]))
    behind = used[0] * (used[1] + 1) + 1
    post_rows = np.concatenate([_without_newlines(used), behind + _without_newlines((side, side))])
    layout = TokenLayout((parts, whole), len(post_rows))
    return [Placement(layout, np.concatenate([pre.reshape(-1), within.reshape(-1)]), post_rows)]


def _without_newlines(grid: Grid) -> Int[np.ndarray, " n"]:
    """Raster numbers of a grid whose rows each end in a further token."""
    return np.arange(grid[0] * (grid[1] + 1)).reshape(grid[0], -1)[:, :-1].reshape(-1)


def _activated(tokens: Tensor, given: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.gelu(tokens)


PHI4_MULTIMODAL = Family(
    model_types=("phi4_multimodal",),
    connector="average pool + mlp",
    modules=(f"{EMBED}.img_projection_up", f"{EMBED}.img_projection_down"),
    pre_output_of=_layer,
    between_modules=_activated,
    place=_place,
    run=_run,
    one_at_a_time=True,
    dropped="tokens of the padding, newline and separator tokens",
    note="the pooling before the module is measured with it; the model projects each picture by itself",
)

FAMILIES = (PHI4_MULTIMODAL,)
