"""All that readers are asked about the scenes they learn from: every object, place, category and number in a scene.

The scenes are those of the split `probe`, which neither the zoo's training nor a test has; the questions beyond the
split's own are drawn from a random stream of their own, so that they are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.zoo.backgrounds import SIDE
from connector_bench.zoo.composition import PlacedObject, Scene
from connector_bench.zoo.questions import (
    Question,
    ask_category,
    ask_count,
    ask_existence,
    ask_object,
    draw_absent,
)
from connector_bench.zoo.splits import SEED

if TYPE_CHECKING:
    import datasets

STREAM = 5
"""Of the random numbers; the splits of the scenes have 0 to 4."""
_NO_MASK = np.zeros((SIDE, SIDE), dtype=bool)

Asked = tuple[str, str, str]
"""Kind, question and answer."""


def reader_questions(scenes: datasets.Dataset) -> list[list[Asked]]:
    """The questions about each scene of a split, as `scenes.load` gives it: its own first, then all others.

    Of every object: what is at its place, of what kind, whether it can be seen, and whether something that is not
    there can be. Of every category that is there, how many there are.
    """
    columns = scenes.select_columns(["objects", "questions"])
    return [_about(number, row["objects"], row["questions"]) for number, row in enumerate(columns)]


def _about(number: int, placed: Sequence[Mapping[str, Any]], own: Sequence[Mapping[str, Any]]) -> list[Asked]:
    rng = np.random.default_rng(np.random.SeedSequence((SEED, STREAM, number)))
    objects = tuple(
        PlacedObject(one["name"], one["category"], one["place"], one["drawing"], tuple(one["box"]), _NO_MASK)
        for one in placed
    )
    scene = Scene(np.zeros((0, 0, 3), dtype=np.uint8), "", "", objects)
    more: list[Question] = []
    for item in objects:
        more += [ask_object(item), ask_category(item), ask_existence(scene, item.name)]
        more.append(ask_existence(scene, draw_absent(scene, rng)))
    more += [ask_count(scene, category) for category in dict.fromkeys(item.category for item in objects)]
    asked = [(one["kind"], one["question"], one["answer"]) for one in own]
    return list(dict.fromkeys([*asked, *((one.kind, one.question, one.answer) for one in more)]))
