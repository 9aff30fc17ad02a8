"""Procedural backgrounds: five families, each a function of a random generator alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SIDE = 224
Pixels = NDArray[np.float32]


def _coordinates() -> tuple[Pixels, Pixels]:
    axis = np.linspace(0.0, 1.0, SIDE, dtype=np.float32)
    rows, columns = np.meshgrid(axis, axis, indexing="ij")
    return rows, columns


def _mix(weight: Pixels, rng: np.random.Generator) -> Pixels:
    """Blend two random colours by ``weight`` [SIDE, SIDE] in 0..1 -> [SIDE, SIDE, 3] in 0..255."""
    first, second = rng.uniform(20, 235, size=(2, 3)).astype(np.float32)
    return first + (second - first) * weight[..., None]


def _smooth_noise(rng: np.random.Generator, cells: int) -> Pixels:
    """Noise of ``cells`` x ``cells`` knots, interpolated linearly, in 0..1."""
    knots = rng.uniform(size=(cells + 1, cells + 1)).astype(np.float32)
    position = np.linspace(0, cells, SIDE, endpoint=False, dtype=np.float32)
    low = position.astype(int)
    fraction = (position - low)[:, None]
    rows = knots[low] * (1 - fraction) + knots[low + 1] * fraction
    return rows[:, low] * (1 - fraction.T) + rows[:, low + 1] * fraction.T


def gradient(rng: np.random.Generator) -> Pixels:
    """A linear blend of two colours."""
    rows, columns = _coordinates()
    angle = rng.uniform(0, 2 * np.pi)
    weight = np.cos(angle) * rows + np.sin(angle) * columns
    return _mix((weight - weight.min()) / np.ptp(weight), rng)


def stripes(rng: np.random.Generator) -> Pixels:
    """Soft or hard stripes of two colours."""
    rows, columns = _coordinates()
    angle, frequency = rng.uniform(0, np.pi), rng.uniform(4, 16)
    phase = (np.cos(angle) * rows + np.sin(angle) * columns) * frequency * 2 * np.pi
    return _mix(0.5 + 0.5 * np.clip(np.sin(phase) * rng.uniform(0.5, 4), -1, 1), rng)


def checks(rng: np.random.Generator) -> Pixels:
    """A checkerboard of two colours."""
    rows, columns = _coordinates()
    count = rng.uniform(3, 14)
    shift = rng.uniform(size=2)
    parity = (np.floor(rows * count + shift[0]) + np.floor(columns * count + shift[1])) % 2
    return _mix(parity.astype(np.float32), rng)


def noise(rng: np.random.Generator) -> Pixels:
    """Cloudy noise between two colours."""
    octaves = [_smooth_noise(rng, cells) / (level + 1) for level, cells in enumerate((3, 8, 20, 48))]
    total = np.sum(octaves, axis=0, dtype=np.float32)
    return _mix((total - total.min()) / np.ptp(total), rng)


def blobs(rng: np.random.Generator) -> Pixels:
    """Discs of many colours on a blend."""
    rows, columns = _coordinates()
    picture = _mix(rows, rng)
    for _ in range(rng.integers(6, 18)):
        centre, radius = rng.uniform(size=2), rng.uniform(0.03, 0.18)
        inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
        picture[inside] = rng.uniform(20, 235, size=3)
    return picture


FAMILIES: dict[str, Callable[[np.random.Generator], Pixels]] = {
    "gradient": gradient,
    "stripes": stripes,
    "checks": checks,
    "noise": noise,
    "blobs": blobs,
}


def paint_background(rng: np.random.Generator) -> tuple[str, NDArray[np.uint8]]:
    """A random family's name and its picture, uint8 [224, 224, 3], with a little pixel noise."""
    family = list(FAMILIES)[rng.integers(len(FAMILIES))]
    picture = FAMILIES[family](rng)
    grain = rng.normal(0, rng.uniform(0, 6), size=(SIDE, SIDE, 1))
    return family, np.clip(picture + grain, 0, 255).astype(np.uint8)
