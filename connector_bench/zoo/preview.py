"""A contact sheet of scenes or of objects, to look at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from connector_bench.zoo import objects
from connector_bench.zoo.backgrounds import SIDE
from connector_bench.zoo.questions import Question
from connector_bench.zoo.splits import SPLITS, find_split, make_scene

CAPTION_HEIGHT = 28
COLUMNS = 4


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of ``mask`` grown by one that are not in it."""
    padded = np.pad(mask, 1)
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.logical_or.reduce(neighbours) & ~mask


def _card(pixels: NDArray[np.uint8], text: str) -> Image.Image:
    card = Image.new("RGB", (SIDE, SIDE + CAPTION_HEIGHT), "white")
    card.paste(Image.fromarray(pixels), (0, 0))
    ImageDraw.Draw(card).text((3, SIDE + 2), text, fill="black")
    return card


def scene_card(pixels: NDArray[np.uint8], question: Question) -> Image.Image:
    """One scene with a question, its answer, and the answer's mask outlined in white on black."""
    marked = pixels.copy()
    edge = outline(question.mask)
    marked[outline(question.mask | edge)] = 0
    marked[edge] = 255
    return _card(marked, f"{question.question}\n{question.answer}")


def object_card(view: objects.View) -> Image.Image:
    """One view of an object with its labels."""
    return _card(view.image, f"{view.object}\n{view.category}; {view.background} background")


def _scene_cards(split: str, most: int) -> Iterator[Image.Image]:
    found = find_split(split)
    for index in range(min(most, found.scenes)):
        scene, questions = make_scene(found, index)
        yield scene_card(scene.image, questions[index % len(questions)])


def _object_cards(split: str, most: int) -> Iterator[Image.Image]:
    found = objects.SPLITS[split]
    for index in range(min(most, found.pictures)):
        yield object_card(objects.make_view(found, index))


def contact_sheet(split: str, pictures: int) -> Image.Image:
    """The first pictures of a split: scenes, going through the kinds of question, or views of objects.

    Raises:
        ValueError: unknown split.
    """
    if split not in (*SPLITS, *objects.SPLITS):
        raise ValueError(f"no split {split!r}; splits are {', '.join((*SPLITS, *objects.SPLITS))}")
    cards = list((_object_cards if split in objects.SPLITS else _scene_cards)(split, pictures))
    rows = -(-len(cards) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (SIDE + 4), rows * (SIDE + CAPTION_HEIGHT + 4)), "gray")
    for index, card in enumerate(cards):
        row, column = divmod(index, COLUMNS)
        sheet.paste(card, (column * (SIDE + 4) + 2, row * (SIDE + CAPTION_HEIGHT + 4) + 2))
    return sheet
