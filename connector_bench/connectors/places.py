"""Ready-made `place` functions for family files: shapes and processor outputs in, placements out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from connector_bench.connectors import layouts
from connector_bench.connectors.boxes import fitted, grid_boxes
from connector_bench.connectors.family import Batch, PictureSize, Place, Placement
from connector_bench.types import WHOLE_PICTURE, Box, Grid


def tokens_of(shape: tuple[int, ...], skip: int = 0, pixels: PictureSize = (1, 1)) -> Grid:
    """Grid of the tokens in one `[batch, n, width]` or `[batch, rows, columns, width]` tensor.

    `pixels` are height and width of what the tower was given. ValueError where the tokens are no grid of that shape.
    """
    return (shape[1], shape[2]) if len(shape) == 4 else layouts.grid_like(shape[1] - skip, pixels)


def pixels_of(batch: Batch) -> PictureSize | None:
    """Height and width that the processor gave every tile; None where its pixels come as patches, or are not known."""
    shape = tuple(getattr(batch.inputs.get("pixel_values"), "shape", ()))
    return (int(shape[-2]), int(shape[-1])) if len(shape) >= 4 and shape[-3] in (1, 3) else None


def check_tiles(batch: Batch, boxes: Sequence[Sequence[Box]]) -> None:
    """Refuse a layout whose tiles are not as many as the connector received.

    Raises:
        ValueError: naming both numbers.
    """
    expected, got = sum(len(places) for places in boxes), batch.pre_shapes[0][0]
    if expected != got:
        raise ValueError(f"{len(boxes)} pictures should make {expected} tiles, the connector received {got}")


def grid(skip_pre: int = 0, skip_post: int = 0, resampler: bool = False) -> Place:
    """One square tile a picture, the place that resize and crop leave of it."""

    def place(batch: Batch) -> list[Placement]:
        return stacked(batch, [[fitted(batch, size)] for size in batch.sizes], skip_pre, skip_post, resampler)

    return place


def tiles(
    boxes_of: Callable[[Batch], Sequence[Sequence[Box]]],
    skip_pre: int = 0,
    block_order: Callable[[Any], int] | None = None,
    normed_block_order: Callable[[Any], int] | None = None,
) -> Place:
    """Square tiles of equal size; `boxes_of` says where each picture's tiles lie.

    `block_order`, where given, returns from the config the side of the blocks that patches are stored in;
    `normed_block_order` that of the blocks behind the connector's norm, where a pixel shuffle precedes it.
    """

    def place(batch: Batch) -> list[Placement]:
        block = block_order(batch.config) if block_order else None
        normed = normed_block_order(batch.config) if normed_block_order else None
        return stacked(batch, boxes_of(batch), skip_pre, block=block, normed_block=normed)

    return place


def stacked(
    batch: Batch,
    boxes: Sequence[Sequence[Box]],
    skip_pre: int = 0,
    skip_post: int = 0,
    resampler: bool = False,
    block: int | None = None,
    normed_block: int | None = None,
) -> list[Placement]:
    """Tiles on the batch axis, their grids read from the shapes at the connector."""
    check_tiles(batch, boxes)
    pixels = pixels_of(batch) or (1, 1)
    pre_grid = tokens_of(batch.pre_shapes[0], skip_pre, pixels)
    post = batch.post_shapes[0]
    n_post = math.prod(post[1:-1]) - skip_post
    post_grid = None if resampler else tokens_of(post, skip_post, pixels)
    order = layouts.blocks(pre_grid, block) if block else None
    normed = layouts.blocks(pre_grid, normed_block) if normed_block else None
    return layouts.tiled(boxes, pre_grid, post_grid, n_post, skip_pre, skip_post, order, normed)


def thumbnail_last(grid_of: Callable[[Batch, int], Grid]) -> Callable[[Batch], list[list[Box]]]:
    """Rows x columns tiles of the stretched picture, then the whole where there is more than one tile."""

    def boxes(batch: Batch) -> list[list[Box]]:
        grids = [grid_of(batch, index) for index in range(len(batch.sizes))]
        return [[*grid_boxes(g), WHOLE_PICTURE] if math.prod(g) > 1 else [WHOLE_PICTURE] for g in grids]

    return boxes


def whole_first_if_split(grid_of: Callable[[Batch, int], Grid]) -> Callable[[Batch], list[list[Box]]]:
    """The whole picture where there is more than one tile, then rows x columns tiles of the stretched one."""

    def boxes(batch: Batch) -> list[list[Box]]:
        grids = [grid_of(batch, index) for index in range(len(batch.sizes))]
        return [[WHOLE_PICTURE, *grid_boxes(g)] if math.prod(g) > 1 else [WHOLE_PICTURE] for g in grids]

    return boxes


def packed_grids(batch: Batch) -> list[Grid]:
    """Rows and columns of each packed picture's patches, as `image_grid_thw` reports them."""
    return [(int(rows), int(columns)) for _, rows, columns in batch.inputs["image_grid_thw"].tolist()]


def by_grid_thw(window: Callable[[Any], int] | None = None) -> Place:
    """Packed pictures whose grids come as `image_grid_thw`, patches stored block by block (Qwen-VL, GLM-V).

    `window`, where given, returns from the config the side in cells of the attention windows that blocks are
    stored in.
    """

    def place(batch: Batch) -> list[Placement]:
        vision = batch.config.vision_config
        side = window(vision) if window else None
        return layouts.packed(
            packed_grids(batch), int(vision.spatial_merge_size), block_order=True, window=side
        )

    return place


def by_image_sizes(merge: Callable[[Any], int] | int = 1) -> Place:
    """Packed pictures whose resized sizes come as `image_sizes`, patches in raster order (Pixtral towers)."""

    def place(batch: Batch) -> list[Placement]:
        patch = int(batch.config.vision_config.patch_size)
        grids = [(int(h) // patch, int(w) // patch) for h, w in batch.inputs["image_sizes"].tolist()]
        return layouts.packed(grids, merge(batch.config) if callable(merge) else merge)

    return place
