"""VILA and NVILA, by their own code: 2x2 or 3x3 merge, norm and perceptron; tiles, or one stretched picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.connectors.boxes import centred, grid_boxes
from connector_bench.connectors.execution import input_device, on_device
from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.connectors.layouts import square
from connector_bench.connectors.uneven import absent_at_the_end, placement_of, side_by_side, uneven_tiles
from connector_bench.types import WHOLE_PICTURE, Box, Grid

if TYPE_CHECKING:
    from jaxtyping import Int

    from connector_bench.connectors.uneven import Part


def _kind(config: Any) -> str:
    """The projector's kind, as the configuration states it."""
    stated = getattr(config, "mm_projector_cfg", None)
    found = (
        stated.get("mm_projector_type")
        if isinstance(stated, Mapping)
        else getattr(stated, "mm_projector_type", None)
    )
    return str(found or getattr(config, "mm_projector_type", None) or "")


def _block_sizes(inputs: Mapping[str, Any]) -> Any:
    """Rows and columns of tiles in which a picture was stretched, where it was."""
    return ((inputs.get("media_config") or {}).get("image") or {}).get("block_sizes")


def _run(model: Any, inputs: Mapping[str, Any]) -> Any:
    """The model's own way from pixels to what its language model gets."""
    import torch

    media = inputs.get("media")
    given = inputs["images"] if media is None else media["image"]
    tiles = torch.cat([part.reshape(-1, *part.shape[-3:]) for part in given])
    pixels, sizes = on_device(model, {"tiles": tiles})["tiles"], _block_sizes(inputs)
    return model.encode_images(pixels) if sizes is None else model.encode_images(pixels, sizes)


def _views(batch: Batch, tiles: int) -> list[tuple[Int[np.ndarray, "rows columns"], Box]]:
    """Tiles by number, in rows and columns, and what each such view shows of the picture."""
    (height, width), sizes = batch.sizes[0], _block_sizes(batch.inputs)
    if sizes is not None:
        own = tuple(int(edge) for edge in sizes[0]) if sizes[0] is not None else (1, 1)
        grid = (own[0], own[1]) if math.prod(own) == tiles else square(tiles)
        return [(np.arange(tiles).reshape(grid), WHOLE_PICTURE)]
    if tiles == 1:
        padded = getattr(batch.config, "image_aspect_ratio", None) == "pad"
        side = max(height, width)
        return [
            (np.zeros((1, 1), dtype=int), centred((height, width), (side, side)) if padded else WHOLE_PICTURE)
        ]
    grid = _likest(tiles - 1, width / height)
    cut_outs = [(np.full((1, 1), number), box) for number, box in enumerate(grid_boxes(grid))]
    return [*cut_outs, (np.full((1, 1), tiles - 1), WHOLE_PICTURE)]


def _likest(tiles: int, shape: float) -> Grid:
    """Of all rows and columns of so many tiles, those whose shape is nearest to the picture's, width by height."""
    grids = [(rows, tiles // rows) for rows in range(1, tiles + 1) if tiles % rows == 0]
    return min(grids, key=lambda grid: abs(shape - grid[1] / grid[0]))


def _place(batch: Batch) -> list[Placement]:
    tiles, n_patches, n_tokens = *batch.pre_shapes[0][:2], batch.post_shapes[0][1]
    side, cells = square(n_patches)[0], square(n_tokens)[0]
    block, down_each_column = _merging(batch.model, side)
    patches = absent_at_the_end(np.arange(tiles * n_patches).reshape(tiles, side, side), block)
    tokens = np.arange(tiles * n_tokens).reshape(tiles, cells, cells)
    if down_each_column:
        tokens = tokens.transpose(0, 2, 1)
    views = _views(batch, tiles)
    parts: list[Part] = []
    for numbers, box in views:
        shown, made = side_by_side(patches[numbers]), side_by_side(tokens[numbers])
        parts += uneven_tiles(shown, (block, block), made, box)
    placement = placement_of(parts)
    return [replace(placement, normed_rows=_normed(patches, tokens, block)[placement.pre_rows])]


def _merging(model: Any, side: int) -> tuple[int, bool]:
    """Side of the blocks that are merged, and whether these then run down each column instead of along each row.

    They do in VILA-1.5's code, and not in later code that goes by the same name, so numbered patches are passed through
    the merger itself, which has no weights.
    """
    import torch

    merger = next(iter(getattr(model.mm_projector, "layers", ())), None)
    if merger is None or any(True for _ in merger.parameters()):
        return 1, False
    numbers = torch.arange(side**2, dtype=torch.float32, device=input_device(model)).reshape(1, -1, 1)
    merged = merger(numbers)[0]
    block = math.isqrt(merged.shape[-1])
    return block, len(merged) > 1 and int(merged[1, 0]) == block * side


def _normed(
    patches: Int[np.ndarray, "tiles height width"], tokens: Int[np.ndarray, "tiles rows columns"], block: int
) -> Int[np.ndarray, " patches"]:
    """For each row of the input, its row behind the merging of blocks."""
    within = np.arange(block**2).reshape(1, block, 1, block)
    merged = tokens[:, :, None, :, None] * block**2 + within
    behind = np.empty(patches.max() + 1, dtype=int)
    behind[patches[patches >= 0]] = merged.reshape(patches.shape)[patches >= 0]
    return behind


def _is_vila(config: Any) -> bool:
    """Whether the configuration has VILA's parts; LLaVA's own code goes by the same name in some checkpoints."""
    return getattr(config, "llm_cfg", None) is not None


VILA = Family(
    model_types=("vila", "llava_llama"),
    connector="patch merger",
    modules=("mm_projector",),
    leading_norm="layers.1",
    place=_place,
    run=_run,
    one_at_a_time=True,
    dropped="the zeros that fill up blocks at the right and lower edge",
    note="where scales are joined (S2), pre is one patch of the finest with the others beside it",
    when=lambda config: _is_vila(config) and "downsample" in _kind(config),
)

VILA_PLAIN = replace(
    VILA,
    connector="mlp",
    leading_norm=None,
    dropped="nothing",
    when=lambda config: _is_vila(config) and "downsample" not in _kind(config),
)

FAMILIES = (VILA, VILA_PLAIN)
