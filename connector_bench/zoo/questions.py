"""Questions about a scene, each with one answer and the mask of the pixels that answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connector_bench.zoo.backgrounds import SIDE
from connector_bench.zoo.composition import PlacedObject, Scene
from connector_bench.zoo.sprites import PLURALS, read_catalogue

KINDS: tuple[str, ...] = ("object", "existence", "count", "category")


@dataclass(frozen=True)
class Question:
    """``mask`` [224, 224] holds the visible pixels of the objects that answer; it is empty for a "no"."""

    kind: str
    question: str
    answer: str
    mask: NDArray[np.bool_]


def union_of_masks(objects: Sequence[PlacedObject]) -> NDArray[np.bool_]:
    """Pixels of any of ``objects``; all False for none."""
    empty = np.zeros((SIDE, SIDE), dtype=bool)
    return np.logical_or.reduce([empty, *(item.mask for item in objects)])


def ask_object(item: PlacedObject) -> Question:
    """Which object is at the place of ``item``."""
    return Question("object", f"what is at the {item.place}?", item.name, item.mask)


def ask_category(item: PlacedObject) -> Question:
    """Which category the object at the place of ``item`` has."""
    return Question("category", f"what kind of thing is at the {item.place}?", item.category, item.mask)


def ask_count(scene: Scene, category: str) -> Question:
    """How many objects of ``category`` the scene holds."""
    items = [item for item in scene.objects if item.category == category]
    text = f"how many {PLURALS[category]} are there?"
    return Question("count", text, str(len(items)), union_of_masks(items))


def ask_existence(scene: Scene, name: str) -> Question:
    """Whether the scene holds the object ``name``."""
    items = [item for item in scene.objects if item.name == name]
    answer = "yes" if items else "no"
    return Question("existence", f"can you see the {name}?", answer, union_of_masks(items))


def draw_absent(scene: Scene, rng: np.random.Generator) -> str:
    """An object that is not in the scene; half the time a look-alike, of the category of one that is.

    Either way every category is as likely as among the objects of scenes, so that a name alone tells nothing.
    """
    present = {item.name for item in scene.objects}
    catalogue = read_catalogue()
    if rng.random() < 0.5:
        category = scene.objects[rng.integers(len(scene.objects))].category
    else:
        category = list(catalogue)[rng.integers(len(catalogue))]
    candidates = [name for name in catalogue[category] if name not in present]
    return candidates[rng.integers(len(candidates))]


def ask_about(scene: Scene, rng: np.random.Generator, per_kind: int = 1) -> list[Question]:
    """``per_kind`` questions of each kind, fewer of a kind in a scene that has less to ask about.

    Existence is "yes" with probability one half; with ``per_kind`` above 1 the answers alternate. The first
    count question is of the focus category, whose number is uniform.
    """
    order = rng.permutation(len(scene.objects))
    questions = [ask_object(scene.objects[i]) for i in order[:per_kind]]
    present = bool(rng.random() < 0.5)
    for turn in range(per_kind):
        pick = scene.objects[rng.integers(len(scene.objects))].name
        asked = pick if present ^ bool(turn % 2) else draw_absent(scene, rng)
        questions.append(ask_existence(scene, asked))
    counted = dict.fromkeys([scene.focus, *(item.category for item in scene.objects)])
    questions += [ask_count(scene, category) for category in list(counted)[:per_kind]]
    order = rng.permutation(len(scene.objects))
    return questions + [ask_category(scene.objects[i]) for i in order[:per_kind]]
