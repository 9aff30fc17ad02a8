"""A picture that shows every patch: for trial passes and for the planted-patch check."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


def coloured_picture(width: int, height: int, seed: int = 0) -> Image:
    """A picture of strong random colours in small squares, so that no patch looks like its inverse."""
    from PIL import Image as pillow

    random = np.random.default_rng(seed)
    coarse = random.choice(
        np.array([10, 245], dtype=np.uint8), (math.ceil(height / 7), math.ceil(width / 7), 3)
    )
    fine = np.kron(coarse, np.ones((7, 7, 1), dtype=np.uint8))[:height, :width]
    return pillow.fromarray(fine)
