"""Compose one scene: cut-outs on a procedural background, with known boxes and visible masks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from connector_bench.zoo.backgrounds import SIDE, paint_background
from connector_bench.zoo.sprites import Drawing, load_sprite, read_catalogue

PLACES: tuple[str, ...] = tuple(
    "middle" if (row, column) == ("middle", "middle") else f"{row} {column}"
    for row, column in product(("top", "middle", "bottom"), ("left", "middle", "right"))
)
CELL = SIDE / 3


@dataclass(frozen=True)
class Ranges:
    """What a scene may hold: inclusive ranges, pixels and degrees."""

    objects: tuple[int, int] = (4, 7)
    of_a_category: tuple[int, int] = (1, 4)
    size: tuple[int, int] = (30, 58)
    tilt: float = 20.0
    beyond_cell: int = 5


@dataclass(frozen=True)
class PlacedObject:
    """One cut-out in a scene.

    ``box`` is (x0, y0, x1, y1) in pixels, x1 and y1 exclusive, of its visible pixels.
    """

    name: str
    category: str
    place: str
    drawing: Drawing
    box: tuple[int, int, int, int]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """A composed picture (not a photograph), uint8 [224, 224, 3], and all that is known of it."""

    image: NDArray[np.uint8]
    background: str
    focus: str
    objects: tuple[PlacedObject, ...]

    @property
    def label(self) -> str:
        """The category that covers the largest visible area; ties go to the first object's."""
        area: dict[str, int] = {}
        for item in self.objects:
            area[item.category] = area.get(item.category, 0) + int(item.mask.sum())
        return max(area, key=lambda category: area[category])

    @property
    def caption(self) -> str:
        """All objects and places in reading order, and the background."""
        ordered = sorted(self.objects, key=lambda item: PLACES.index(item.place))
        listed = ", ".join(f"{item.name} at the {item.place}" for item in ordered)
        return f"{listed}, on a background of {self.background}"


def draw_names(rng: np.random.Generator, ranges: Ranges) -> tuple[str, list[tuple[str, str]]]:
    """Focus category and the (name, category) pairs of a scene, all names different.

    Objects come in groups of one category, look-alikes together. The number of objects and the number in the
    focus category are independent and uniform, so that neither the scene's size nor any habit of the sampler
    tells how many there are.
    """
    catalogue = read_catalogue()
    total = int(rng.integers(ranges.objects[0], ranges.objects[1] + 1))
    categories = [str(category) for category in rng.permutation(list(catalogue))]
    chosen: list[tuple[str, str]] = []
    for category in categories:
        size = int(rng.integers(ranges.of_a_category[0], ranges.of_a_category[1] + 1))
        names = rng.choice(catalogue[category], size=min(size, total - len(chosen)), replace=False)
        chosen += [(str(name), category) for name in names]
        if len(chosen) == total:
            break
    order = rng.permutation(len(chosen))
    return categories[0], [chosen[i] for i in order]


def transformed_sprite(name: str, drawing: Drawing, rng: np.random.Generator, ranges: Ranges) -> Image.Image:
    """A cut-out, perhaps mirrored, tilted and shrunk, cropped to its opaque pixels."""
    sprite = load_sprite(name, drawing)
    if rng.random() < 0.5:
        sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    sprite = sprite.rotate(rng.uniform(-ranges.tilt, ranges.tilt), Image.Resampling.BICUBIC, expand=True)
    sprite = sprite.crop(sprite.getchannel("A").getbbox())
    scale = rng.integers(ranges.size[0], ranges.size[1] + 1) / max(sprite.size)
    return sprite.resize([max(1, round(side * scale)) for side in sprite.size], Image.Resampling.LANCZOS)


def _corner(cell: int, length: int, rng: np.random.Generator, beyond: int) -> int:
    """First pixel of an object ``length`` long in row or column ``cell``, at most ``beyond`` outside it."""
    slack = max(0.0, (CELL - length) / 2 + beyond)
    centre = (cell + 0.5) * CELL + rng.uniform(-slack, slack)
    return int(np.clip(round(centre - length / 2), 0, SIDE - length))


def box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of the True pixels, x1 and y1 exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def compose_scene(rng: np.random.Generator, drawing: Drawing) -> Scene:
    """One scene from a generator alone.

    An object's mask holds its pixels of alpha above one half that show.
    """
    ranges = Ranges()
    focus, names = draw_names(rng, ranges)
    background, pixels = paint_background(rng)
    canvas = Image.fromarray(pixels)
    places = rng.permutation(len(PLACES))[: len(names)]
    masks: list[NDArray[np.bool_]] = []
    for (name, _), place in zip(names, places, strict=True):
        sprite = transformed_sprite(name, drawing, rng, ranges)
        row, column = divmod(int(place), 3)
        x = _corner(column, sprite.width, rng, ranges.beyond_cell)
        y = _corner(row, sprite.height, rng, ranges.beyond_cell)
        canvas.paste(sprite, (x, y), sprite)
        mask = np.zeros((SIDE, SIDE), dtype=bool)
        mask[y : y + sprite.height, x : x + sprite.width] = np.asarray(sprite.getchannel("A")) > 127
        masks = [earlier & ~mask for earlier in masks] + [mask]
    objects = tuple(
        PlacedObject(name, category, PLACES[place], drawing, box_of(mask), mask)
        for (name, category), place, mask in zip(names, places, masks, strict=True)
    )
    return Scene(np.asarray(canvas), background, focus, objects)
