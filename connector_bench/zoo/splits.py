"""The scenes' splits: how many scenes, which drawing, and the random stream of each scene."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from connector_bench.zoo.composition import Scene, compose_scene
from connector_bench.zoo.questions import Question, ask_about
from connector_bench.zoo.sprites import Drawing

SEED = 20260
VERSION = 1
"""Raised with every change that alters a pixel or a question; names the folder of the cache."""


@dataclass(frozen=True)
class Split:
    """``stream`` separates the random numbers of the splits;

    ``per_kind`` is the number of questions of a kind. The models were trained on ``train``; the probes of
    ``patch_reconstruction`` and the readers of ``connector_stages`` are trained on ``probe``, which neither models nor
    tests have seen.
    """

    name: str
    stream: int
    scenes: int
    drawing: Drawing
    per_kind: int


SPLITS: dict[str, Split] = {
    split.name: split
    for split in (
        Split("train", 0, 6000, "3d", 4),
        Split("validation", 1, 300, "3d", 1),
        Split("test", 2, 1000, "3d", 1),
        Split("test_unseen", 3, 1000, "flat", 1),
        Split("probe", 4, 2400, "3d", 1),
    )
}


def find_split(name: str) -> Split:
    """Look up a split.

    Raises:
        ValueError: unknown name.
    """
    if name not in SPLITS:
        raise ValueError(f"no split {name!r} of the scenes; splits are {', '.join(SPLITS)}")
    return SPLITS[name]


def image_id(split: Split, index: int) -> str:
    """Stable name of a scene, such as ``test-000123``."""
    return f"{split.name}-{index:06d}"


def make_scene(split: Split, index: int) -> tuple[Scene, list[Question]]:
    """Scene ``index`` and its questions, from a random stream of their own: no scene depends on another.

    Raises:
        IndexError: the split has no such scene.
    """
    if not 0 <= index < split.scenes:
        raise IndexError(f"{split.name} has scenes 0 to {split.scenes - 1}, got {index}")
    rng = np.random.default_rng(np.random.SeedSequence((SEED, split.stream, index)))
    scene = compose_scene(rng, split.drawing)
    return scene, ask_about(scene, rng, split.per_kind)


class Fingerprint:
    """sha256 over every pixel, question, answer and mask of scenes, in the order they are added."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, scene: Scene, questions: list[Question]) -> None:
        """Take in the next scene."""
        self._digest.update(scene.image.tobytes())
        for question in questions:
            self._digest.update(f"{question.kind}\0{question.question}\0{question.answer}\0".encode())
            self._digest.update(np.packbits(question.mask).tobytes())

    def hex(self) -> str:
        """The digest of what was added so far."""
        return self._digest.hexdigest()
