"""Where the names of outlines stand in a picture, so that they hide neither each other nor what is numbered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool
from scipy.ndimage import find_objects, label

from connector_bench.types import Box

LETTER, PADDING, LINE = 0.75, 0.6, 1.35
"""A name's width for each letter and beside them, and its height, in heights of its letters."""
GAP = 0.35
"""Between a name and its outline, in the same."""


def label_boxes(
    masks: Mapping[str, Bool[np.ndarray, "rows columns"]],
    taken: Sequence[Box],
    em: float,
    shape: float,
) -> dict[str, Box]:
    """The box of each name, beside a part of its mask, where least is hidden: names, then boxes `taken`, then masks.

    Boxes are left, top, right and bottom in shares of the picture, y downwards. `em` is the letters' height as a share
    of the picture's width, `shape` the picture's height over its width. Masks must not be empty.
    """
    placed: dict[str, Box] = {}
    for name, mask in masks.items():
        size = (len(name) * LETTER + PADDING) * em, LINE * em / shape
        gap = GAP * em, GAP * em / shape
        places = [place for part in _parts(mask) for place in _beside(part, size, gap)]
        placed[name] = min(
            places,
            key=lambda place: (
                round(sum(common(place, other) for other in placed.values()), 6),
                round(sum(common(place, other) for other in taken), 6),
                sum(_covered(place, other) for other in masks.values()),
            ),
        )
    return placed


def common(a: Box, b: Box) -> float:
    """Area that two boxes share."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def _parts(mask: Bool[np.ndarray, "rows columns"]) -> list[Box]:
    """Bounds of the pieces that hang together, the topmost first."""
    height, width = mask.shape
    return [
        (columns.start / width, rows.start / height, columns.stop / width, rows.stop / height)
        for rows, columns in find_objects(label(mask)[0])
    ]


def _beside(box: Box, size: tuple[float, float], gap: tuple[float, float]) -> list[Box]:
    """Boxes of that size around another, the best looking first, all within the picture."""
    (left, top, right, bottom), (width, height), (across, down) = box, size, gap
    corners = [
        *((x, top - height - down) for x in (left, right - width)),
        *((x, bottom + down) for x in (left, right - width)),
        *((left - width - across, y) for y in (top, bottom - height)),
        *((right + across, y) for y in (top, bottom - height)),
    ]
    inside = [(min(max(x, 0.0), 1 - width), min(max(y, 0.0), 1 - height)) for x, y in corners]
    return [(x, y, x + width, y + height) for x, y in inside]


def _covered(box: Box, mask: Bool[np.ndarray, "rows columns"]) -> int:
    """Pixels of the mask within the box."""
    height, width = mask.shape
    rows = slice(int(box[1] * height), int(np.ceil(box[3] * height)))
    return int(mask[rows, int(box[0] * width) : int(np.ceil(box[2] * width))].sum())
