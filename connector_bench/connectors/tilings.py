"""How the image processors of transformers tile a picture, where they do not report it themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from itertools import islice
from typing import Any

from packaging.version import Version

from connector_bench.connectors.boxes import grid_boxes, side, within
from connector_bench.connectors.family import Batch, PictureSize, Placement
from connector_bench.connectors.layouts import cells_by_tile
from connector_bench.types import WHOLE_PICTURE, Box, Grid

TRANSFORMERS = Version(version("transformers"))


def cropped_grid(batch: Batch, index: int) -> Grid:
    """Rows and columns of tiles that the processors of GOT-OCR 2.0, InternVL and Cohere cut a picture in."""
    if not batch.option("crop_to_patches", True):
        return 1, 1
    size = batch.option("size")
    return optimal_grid(batch, batch.sizes[index], (side(size, "height") or 0, side(size, "width") or 0))


def optimal_grid(batch: Batch, size: PictureSize, tile: PictureSize) -> Grid:
    """Rows and columns that GOT-OCR 2.0's processor and its kin choose for a picture and tiles of that size."""
    limits = (batch.option("min_patches"), batch.option("max_patches"))
    columns, rows = beside(batch.image_processor, "get_optimal_tiled_canvas")(size, tile, *limits)
    return int(rows), int(columns)


def nearest_grid(count: int, distance: Callable[[Grid], float]) -> Grid:
    """Of the grids of so many tiles, the one at the smallest distance; of equal ones that with the fewest columns.

    Preprocessors that choose among grids of many counts by shape alone choose the nearest of that count as well, so
    the number of tiles tells which it was, whatever the limits were.
    """
    grids = [(count // columns, columns) for columns in range(1, count + 1) if count % columns == 0]
    return min(grids, key=distance)


def beside(image_processor: Any, name: str) -> Callable[..., Any]:
    """The function `name` of the module that holds the image processor's class; transformers renamed such modules."""
    modules = (sys.modules[kind.__module__] for kind in type(image_processor).__mro__)
    found: Callable[..., Any] = next(getattr(module, name) for module in modules if hasattr(module, name))
    return found


def perception_boxes(batch: Batch) -> list[list[Box]]:
    """A thumbnail, then the tiles of the stretched picture; the thumbnail alone without tiling."""
    return [_perception(batch, size) for size in batch.sizes]


def _perception(batch: Batch, size: PictureSize) -> list[Box]:
    if batch.option("vision_input_type") != "thumb+tile":
        return [WHOLE_PICTURE]
    import torch

    blank = torch.zeros(1, 3, *size, dtype=torch.uint8)
    tile, most = batch.option("tile_size"), batch.option("max_num_tiles")
    _, (columns, rows) = batch.image_processor.resize(blank, tile, max_num_tiles=most)
    return [WHOLE_PICTURE, *grid_boxes((rows, columns))]


def llama4_boxes(batch: Batch) -> list[list[Box]]:
    """Tiles of a picture padded at the right and below; then the whole, squeezed in one tile."""
    return [_llama4(batch, size, index) for index, size in enumerate(batch.sizes)]


def _llama4(batch: Batch, size: PictureSize, index: int) -> list[Box]:
    rows, columns = (int(n) for n in batch.inputs["aspect_ratios"][index])
    tile = side(batch.option("size"), "height") or 0
    canvas = (rows * tile, columns * tile)
    room = canvas
    if not batch.option("resize_to_max_canvas", False):
        room = (min(max(size[0], tile), canvas[0]), min(max(size[1], tile), canvas[1]))
    largest = beside(batch.image_processor, "get_max_res_without_distortion")
    height, width = (int(n) for n in largest(size, room))
    whole = (0.0, 0.0, canvas[1] / width, canvas[0] / height)
    boxes = [within(whole, box) for box in grid_boxes((rows, columns))]
    return [*boxes, WHOLE_PICTURE] if len(boxes) > 1 else boxes


def place_lfm2(batch: Batch) -> list[Placement]:
    """One call of the connector for each tile; tiles row by row, then a thumbnail of its own size.

    Before transformers 5 the image processor calls its rows columns.
    """
    shapes = zip(batch.pre_shapes, batch.post_shapes, strict=True)
    grids = iter([((pre[1], pre[2]), (post[1], post[2])) for pre, post in shapes])
    thumbnail = bool(batch.option("use_thumbnail", True))
    pictures = []
    names = ("image_rows", "image_cols") if Version("5.0") <= TRANSFORMERS else ("image_cols", "image_rows")
    for rows, columns in zip(*(batch.inputs[name] for name in names), strict=True):
        boxes = grid_boxes((int(rows), int(columns)))
        boxes = [*boxes, WHOLE_PICTURE] if len(boxes) > 1 and thumbnail else boxes
        pictures.append((boxes, list(islice(grids, len(boxes)))))
    if any(True for _ in grids):
        raise ValueError("the connector was called more often than the image processor made tiles")
    return cells_by_tile(pictures)
