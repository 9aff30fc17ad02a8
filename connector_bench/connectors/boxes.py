"""Where the tiles that an image processor cuts lie in the original picture."""

from __future__ import annotations

import math
from typing import Any

from connector_bench.connectors.family import Batch, PictureSize
from connector_bench.types import WHOLE_PICTURE, Box, Grid


def side(size: Any, *names: str) -> int | None:
    """The first of `names` that an image processor's `size` (a dict or an object) has, in pixels."""
    for name in names:
        value = size.get(name) if isinstance(size, dict) else getattr(size, name, None)
        if value is not None:
            return int(value)
    return None


def grid_boxes(grid: Grid) -> list[Box]:
    """The picture cut in rows x columns equal boxes, row by row."""
    rows, columns = grid
    return [
        (c / columns, r / rows, (c + 1) / columns, (r + 1) / rows)
        for r in range(rows)
        for c in range(columns)
    ]


def centred(content: PictureSize, canvas: PictureSize) -> Box:
    """The canvas as fractions of the content in its middle: inside 0..1 for a crop, outside for padding."""
    top, left = (canvas[0] - content[0]) // 2, (canvas[1] - content[1]) // 2
    height, width = content
    return -left / width, -top / height, (canvas[1] - left) / width, (canvas[0] - top) / height


def within(outer: Box, inner: Box) -> Box:
    """`inner`, given as fractions of `outer`, as fractions of the whole picture."""
    left, top, right, bottom = outer
    width, height = right - left, bottom - top
    return left + inner[0] * width, top + inner[1] * height, left + inner[2] * width, top + inner[3] * height


def fitted(batch: Batch, size: PictureSize) -> Box:
    """The part of a picture that is left after resize, square padding and centre crop.

    Processors that resize to a fixed height and width show the whole picture; CLIP's resizes the shortest
    edge and crops the middle; DeepSeek-VL's and Janus's pad to a square.
    """
    height, width = size
    target = batch.option("size") or {}
    if batch.option("do_pad") and batch.option("background_color") is not None:
        return centred(size, (max(size), max(size)))
    short = side(target, "shortest_edge")
    if short is None or not batch.option("do_resize", True) or side(target, "longest_edge"):
        resized = (side(target, "height") or height, side(target, "width") or width)
    else:
        scale = short / min(size)
        resized = (short, int(width * scale)) if height <= width else (int(height * scale), short)
    if not batch.option("do_center_crop", False):
        return WHOLE_PICTURE
    crop = batch.option("crop_size")
    return centred(resized, (side(crop, "height") or resized[0], side(crop, "width") or resized[1]))


def padded_canvas(size: PictureSize, canvas: PictureSize) -> PictureSize:
    """Size in pixels of a picture scaled to fit a canvas without changing its shape."""
    height, width = size
    scale_height, scale_width = canvas[0] / height, canvas[1] / width
    if scale_width < scale_height:
        return min(math.ceil(height * scale_width), canvas[0]), canvas[1]
    return canvas[0], min(math.ceil(width * scale_height), canvas[1])
