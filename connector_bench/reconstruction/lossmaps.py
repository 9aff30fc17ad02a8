"""Where in the picture the loss lies: per-patch maps kept compactly, and loss inside and outside a mask.

A map costs 6 bytes a patch (three float16 values): 3.5 KB for 576 patches, where the published pipeline
keeps the tokens themselves, 11.8 MB. All is numpy: who reads a run's files needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float16, Float32

from connector_bench.reconstruction.patch_boxes import patch_boxes
from connector_bench.types import Tile, TokenLayout

MEASURES = ("loss", "cosine", "norm_difference")
MOST = 6e4
"""In size: float16 ends at 65,504."""

Packed = Mapping[str, Float16[np.ndarray, " patches"]]
"""By measure: the values of all maps end to end."""


@dataclass(frozen=True, eq=False)
class LossMap:
    """One image's best probe by patch, in the encoder's order: tiles in order, raster order within a tile."""

    image_id: str
    layout: TokenLayout
    loss: Float32[np.ndarray, " n_pre"]
    """Squared error over the mean target variance: 0 is rebuilt exactly, 1 is what the training mean gets."""
    cosine: Float32[np.ndarray, " n_pre"]
    norm_difference: Float32[np.ndarray, " n_pre"]


@dataclass(frozen=True, eq=False)
class MaskAreas:
    """How much of each patch lies under a mask and how much beside it, as shares of the picture's area.

    What of a patch lies outside the picture (padding) is in neither.
    """

    inside: Float[np.ndarray, " n_pre"]
    outside: Float[np.ndarray, " n_pre"]


def mask_areas(layout: TokenLayout, mask: Bool[np.ndarray, "rows columns"]) -> MaskAreas:
    """Lay a mask of the whole picture, of any resolution, over the patches; exact to the fraction of a pixel.

    The layout's boxes say where tiles lie after the processor's resize, crop and padding, so mask and
    patches meet in the picture's own coordinates. ValueError for a mask that is not a boolean image.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_ or not mask.size:
        raise ValueError(f"a mask is a boolean image [rows, columns], got {mask.dtype} {mask.shape}")
    rows, columns = mask.shape
    sums = np.zeros((rows + 1, columns + 1))
    sums[1:, 1:] = mask.cumsum(0, dtype=np.float64).cumsum(1)
    boxes = patch_boxes(layout).clip(0.0, 1.0)
    left, top, right, bottom = boxes.T
    corners = [(bottom, right, 1), (top, right, -1), (bottom, left, -1), (top, left, 1)]
    inside = sum(sign * _sum_to(sums, y * rows, x * columns) for y, x, sign in corners) / mask.size
    area = (right - left) * (bottom - top)
    inside = np.clip(inside, 0.0, area)
    return MaskAreas(inside, area - inside)


def _sum_to(sums: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Mask area above and left of fractional pixels: an interpolated summed-area table (Crow 1984)."""
    y0 = np.minimum(y.astype(int), sums.shape[0] - 2)
    x0 = np.minimum(x.astype(int), sums.shape[1] - 2)
    fy, fx = y - y0, x - x0
    upper = sums[y0, x0] * (1 - fx) + sums[y0, x0 + 1] * fx
    lower = sums[y0 + 1, x0] * (1 - fx) + sums[y0 + 1, x0 + 1] * fx
    result: np.ndarray = upper * (1 - fy) + lower * fy
    return result


def inside_outside(values: Float[np.ndarray, " n_pre"], areas: MaskAreas) -> tuple[float, float]:
    """Mean of per-patch values weighted by each patch's area inside the mask, and by that outside.

    NaN for a side without area: a mask that the processor's crop has cut away, or one that covers everything.
    """
    numbers = values.astype(np.float64)
    if numbers.shape != areas.inside.shape:
        raise ValueError(f"{len(numbers)} values for {len(areas.inside)} patches")
    return _weighted(numbers, areas.inside), _weighted(numbers, areas.outside)


def _weighted(values: np.ndarray, weights: np.ndarray) -> float:
    total = weights.sum()
    return float((values * weights).sum() / total) if total > 1e-12 else math.nan


def pack(maps: Iterable[LossMap]) -> tuple[Packed, dict[str, Any]]:
    """Maps as one shard for `RunStore.write`: float16 values end to end, and each layout once.

    What has no places is no map and is left out.
    """
    listed = [one for one in maps if not one.layout.unplaced]
    layouts: dict[TokenLayout, int] = {}
    numbers = [layouts.setdefault(one.layout, len(layouts)) for one in listed]
    nothing = np.zeros(0, np.float32)
    values = {name: np.concatenate([nothing, *(getattr(one, name) for one in listed)]) for name in MEASURES}
    packed = {name: numbers.clip(-MOST, MOST).astype(np.float16) for name, numbers in values.items()}
    meta = {
        "images": [one.image_id for one in listed],
        "layout_of_image": numbers,
        "layouts": [_layout_json(layout) for layout in layouts],
    }
    return packed, meta


def unpack(packed: Packed, meta: Mapping[str, Any]) -> list[LossMap]:
    """The inverse of `pack`, to float16's precision."""
    layouts = [_layout_from(values) for values in meta["layouts"]]
    chosen = [layouts[number] for number in meta["layout_of_image"]]
    ends = np.cumsum([layout.n_pre for layout in chosen], dtype=int)
    parts = [np.split(packed[name].astype(np.float32), ends)[:-1] for name in MEASURES]
    return [
        LossMap(image_id, layout, *values)
        for image_id, layout, *values in zip(meta["images"], chosen, *parts, strict=True)
    ]


def _layout_json(layout: TokenLayout) -> dict[str, Any]:
    tiles = [[list(t.pre_grid), t.post_grid and list(t.post_grid), list(t.box)] for t in layout.tiles]
    return {"tiles": tiles, "n_post": layout.n_post}


def _layout_from(values: Mapping[str, Any]) -> TokenLayout:
    tiles = tuple(
        Tile(tuple(pre), None if post is None else tuple(post), tuple(box))
        for pre, post, box in values["tiles"]
    )
    return TokenLayout(tiles, values["n_post"])
