"""Twelve pictures that are the same bit for bit wherever they are drawn: whole numbers out of SHAKE-256."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

SIZES = (
    *((224, 224), (336, 336), (448, 448), (640, 480), (480, 640), (448, 224)),
    *((224, 448), (512, 384), (384, 512), (300, 200), (200, 300), (113, 97)),
)
"""Width and height of each: square, wide and tall, and one whose sides are odd."""
COARSE, FINE = 28, 7
"""Sides of the squares of colour that lie over each other, in pixels."""


@cache
def drawn_pictures() -> tuple[Image, ...]:
    """The pictures, RGB."""
    from PIL import Image

    return tuple(Image.fromarray(_pixels(number, *size)) for number, size in enumerate(SIZES))


def _pixels(number: int, width: int, height: int) -> np.ndarray:
    coarse, fine = (_squares(f"{number} {side}", width, height, side) for side in (COARSE, FINE))
    return ((3 * coarse + fine) // 4).astype(np.uint8)


def _squares(seed: str, width: int, height: int, side: int) -> np.ndarray:
    rows, columns = -(-height // side), -(-width // side)
    drawn = hashlib.shake_256(seed.encode()).digest(rows * columns * 3)
    colours = np.frombuffer(drawn, dtype=np.uint8).reshape(rows, columns, 3).astype(np.int64)
    return colours.repeat(side, axis=0).repeat(side, axis=1)[:height, :width]
