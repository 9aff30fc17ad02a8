"""A contact sheet of scenes, to look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from connector_bench.zoo.backgrounds import SIDE
from connector_bench.zoo.questions import Question
from connector_bench.zoo.splits import find_split, make_scene

CAPTION_HEIGHT = 28
COLUMNS = 4


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of ``mask`` grown by one that are not in it."""
    padded = np.pad(mask, 1)
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.logical_or.reduce(neighbours) & ~mask


def scene_card(pixels: NDArray[np.uint8], question: Question) -> Image.Image:
    """One scene with a question, its answer, and the answer's mask outlined in white on black."""
    marked = pixels.copy()
    edge = outline(question.mask)
    marked[outline(question.mask | edge)] = 0
    marked[edge] = 255
    card = Image.new("RGB", (SIDE, SIDE + CAPTION_HEIGHT), "white")
    card.paste(Image.fromarray(marked), (0, 0))
    ImageDraw.Draw(card).text((3, SIDE + 2), f"{question.question}\n{question.answer}", fill="black")
    return card


def contact_sheet(split: str, scenes: int) -> Image.Image:
    """The first ``scenes`` scenes of a split, going through the kinds of question.

    Raises:
        ValueError: unknown split.
    """
    found, rows = find_split(split), -(-scenes // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (SIDE + 4), rows * (SIDE + CAPTION_HEIGHT + 4)), "gray")
    for index in range(min(scenes, found.scenes)):
        scene, questions = make_scene(found, index)
        row, column = divmod(index, COLUMNS)
        card = scene_card(scene.image, questions[index % len(questions)])
        sheet.paste(card, (column * (SIDE + 4) + 2, row * (SIDE + CAPTION_HEIGHT + 4) + 2))
    return sheet
