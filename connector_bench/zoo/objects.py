"""Views of single objects on quiet backgrounds, *not* photographs: pictures whose neighbours mean something.

A picture shows one cut-out at half to four fifths of its side, slightly turned. Its background has a random stream
of its own, and a border that no object reaches: nothing in it tells the object. So images that are near to one another
because they show the same object are near for no other reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from connector_bench.zoo.backgrounds import SIDE, gradient
from connector_bench.zoo.cache import cache_root
from connector_bench.zoo.composition import Ranges, box_of, transformed_sprite
from connector_bench.zoo.splits import SEED
from connector_bench.zoo.sprites import Drawing, read_catalogue
from connector_bench.zoo.stored_rows import png, stored_rows

if TYPE_CHECKING:
    import datasets

VERSION = 1
"""Raised with every change that alters a pixel or a label; names the folder of the cache."""
OF_A_CATEGORY = 8
BORDER = 12
"""Pixels on every side that are background alone."""
RANGES = Ranges(size=(112, 179), tilt=12.0)
"""Of an object's longer side: .5 to .8 of the picture."""


@dataclass(frozen=True)
class ObjectSplit:
    """``stream`` separates the random numbers of the splits, from those of the scenes too."""

    name: str
    stream: int
    drawing: Drawing
    views: int = 8
    """Pictures of each object."""

    @property
    def pictures(self) -> int:
        """How many pictures there are."""
        return len(shown_objects()) * self.views


SPLITS: dict[str, ObjectSplit] = {
    split.name: split
    for split in (ObjectSplit("objects_test", 10, "3d"), ObjectSplit("objects_test_unseen", 11, "flat"))
}


@dataclass(frozen=True)
class View:
    """A composed picture (not a photograph), uint8 [224, 224, 3], and what it shows."""

    image: NDArray[np.uint8]
    object: str
    category: str
    drawing: Drawing
    background: str
    """``plain`` for one colour, ``soft`` for a blend of two."""
    box: tuple[int, int, int, int]
    """(x0, y0, x1, y1) of the object in pixels, x1 and y1 exclusive."""


@cache
def shown_objects() -> tuple[tuple[str, str], ...]:
    """Name and category of the objects, eight of each category, spread over it.

    Categories take turns, so that the first few objects already differ in category.
    """
    catalogue = read_catalogue()
    return tuple(
        (names[turn * len(names) // OF_A_CATEGORY], category)
        for turn in range(OF_A_CATEGORY)
        for category, names in catalogue.items()
    )


def find_split(name: str) -> ObjectSplit:
    """Look up a split.

    Raises:
        ValueError: unknown name.
    """
    if name not in SPLITS:
        raise ValueError(f"no split {name!r} of the objects; splits are {', '.join(SPLITS)}")
    return SPLITS[name]


def quiet_background(rng: np.random.Generator) -> tuple[str, NDArray[np.uint8]]:
    """One colour or a linear blend of two, uint8 [224, 224, 3], and which of them it is."""
    if rng.random() < 0.5:
        colour = rng.uniform(20, 235, size=3).astype(np.uint8)
        return "plain", np.broadcast_to(colour, (SIDE, SIDE, 3)).copy()
    return "soft", gradient(rng).astype(np.uint8)


def compose_view(
    name: str,
    category: str,
    drawing: Drawing,
    of_background: np.random.Generator,
    of_object: np.random.Generator,
) -> View:
    """One view from two generators that know nothing of one another."""
    background, pixels = quiet_background(of_background)
    sprite = transformed_sprite(name, drawing, of_object, RANGES)
    x, y = (int(of_object.integers(BORDER, SIDE - BORDER - length, endpoint=True)) for length in sprite.size)
    canvas = Image.fromarray(pixels)
    canvas.paste(sprite, (x, y), sprite)
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[y : y + sprite.height, x : x + sprite.width] = np.asarray(sprite.getchannel("A")) > 127
    return View(np.asarray(canvas), name, category, drawing, background, box_of(mask))


def make_view(split: ObjectSplit, index: int) -> View:
    """Picture ``index``, from random streams of its own; the views of one object follow one another.

    Raises:
        IndexError: the split has no such picture.
    """
    if not 0 <= index < split.pictures:
        raise IndexError(f"{split.name} has pictures 0 to {split.pictures - 1}, got {index}")
    of_background, of_object = (
        np.random.default_rng(np.random.SeedSequence((SEED, split.stream, index, part))) for part in (1, 2)
    )
    return compose_view(*shown_objects()[index // split.views], split.drawing, of_background, of_object)


def _features() -> datasets.Features:
    from datasets import Features, Image, List, Value

    text = dict.fromkeys(("image_id", "object", "category", "background", "drawing"), Value("string"))
    return Features({**text, "image": Image(), "box": List(Value("int32"))})


def _rows(split: ObjectSplit) -> Iterator[dict[str, Any]]:
    numbers = tqdm(range(split.pictures), desc=f"composing {split.name}", unit="picture", mininterval=2)
    for index in numbers:
        view = make_view(split, index)
        yield {
            "image_id": f"{split.name}-{index:06d}",
            "image": {"bytes": png(view.image), "path": None},
            "object": view.object,
            "category": view.category,
            "background": view.background,
            "drawing": view.drawing,
            "box": list(view.box),
        }


def load(split: str) -> datasets.Dataset:
    """A split of the objects, one row a picture; made on first use (about 10 ms a picture) and cached.

    Columns: ``image_id``, ``image`` (224 x 224 RGB), ``object`` (128 of them, eight pictures each), ``category`` (16),
    ``background`` (plain or soft), ``drawing``, ``box`` in pixels. Splits: objects_test, and objects_test_unseen, whose
    drawings the zoo was not trained on; 1024 pictures each.

    Raises:
        ValueError: unknown split.
        OSError: the cache folder cannot be written.
    """
    found = find_split(split)
    folder = cache_root() / f"objects-v{VERSION}" / f"{found.name}-{found.pictures}"
    return stored_rows(folder, _features(), _rows(found))


def fingerprint(split: str) -> str:
    """sha256 (hex) over every pixel and label of a split, in order.

    Raises:
        ValueError: unknown split.
    """
    found, digest = find_split(split), hashlib.sha256()
    for index in range(found.pictures):
        view = make_view(found, index)
        digest.update(view.image.tobytes())
        digest.update(f"{view.object}\0{view.category}\0{view.background}\0".encode())
    return digest.hexdigest()
