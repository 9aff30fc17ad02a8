"""What neighbours share where images have labels of several columns, or captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int

from connector_bench.metrics import by_column
from connector_bench.preservation.design_effect import Column, Effect, InHalves, mean_score
from connector_bench.preservation.neighbours.ranking import Halved
from connector_bench.preservation.retrieval import NEAREST, class_retrieval, classes_of, retrieval_in_halves
from connector_bench.preservation.side import Side
from connector_bench.stats.intervals import Score


@dataclass(frozen=True, eq=False)
class LabelColumn:
    """The classes of all images by one column of labels."""

    column: str
    suffix: str | None
    """What its figures are told apart by; None for the first column's."""
    classes: Int[np.ndarray, " n"]

    def called(self, name: str) -> str:
        """The name of one of its figures."""
        return by_column(name, self.suffix)

    def in_halves(self, rows: Int[np.ndarray, " m"], sides: Sequence[Side], ks: Sequence[int]) -> InHalves:
        """`retrieval_in_halves` under this column's names."""
        values = retrieval_in_halves(sides[0].sample, sides[1].sample, self.classes[rows], ks=ks)
        return lambda before, after: {
            self.called(name): column for name, column in values(before, after).items()
        }

    def figures(
        self, number: int, pre: Side, post: Side, effects: Mapping[str, Effect], ks: Sequence[int]
    ) -> tuple[dict[str, Float64[np.ndarray, " n"]], dict[str, Score]]:
        """Values per image and scores; `number` is the column's place among those that the sides were ranked by."""
        own = {plain: effects[self.called(plain)] for plain in _plain(effects, self.suffix)}
        found = class_retrieval(pre, post, self.classes, own, ks=ks, number=number)
        return (
            {self.called(name): column for name, column in found.columns().items()},
            {self.called(name): score for name, score in found.scores.items()},
        )

    def noted(self) -> dict[str, Any]:
        """For the record: how many classes there are, and the largest purity that their sizes allow."""
        others = np.bincount(self.classes)[self.classes] - 1
        return {
            "classes": int(self.classes.max()) + 1,
            "most": float(np.minimum(others[others > 0], NEAREST).mean() / NEAREST),
        }


def _plain(effects: Mapping[str, Effect], suffix: str | None) -> list[str]:
    """The names without this suffix of what has it."""
    ending = by_column("", suffix)
    return [name.removesuffix(ending) for name in effects if name.endswith(ending)]


def label_columns(
    labels: Mapping[str, Sequence[object]],
) -> tuple[tuple[LabelColumn, ...], tuple[str, ...]]:
    """The columns whose labels allow retrieval, the first with plain names, and a warning for each other one."""
    found, warnings = [], []
    for number, (column, given) in enumerate(labels.items()):
        of = f" by {column}" if number else ""
        try:
            found.append(LabelColumn(column, column if number else None, classes_of(given)))
        except ValueError as error:
            warnings.append(f"no recall and map{of}: {error}")
    return tuple(found), tuple(warnings)


@dataclass(frozen=True, eq=False)
class Captions:
    """The images' captions as weighted words (tf-idf without English stop words), each image's of length 1."""

    words: Any
    """Sparse, images times words."""

    @classmethod
    def of(cls, captions: Sequence[str | None]) -> Captions:
        """Raises ValueError where images have none, or words that say nothing."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        if missing := sum(not caption for caption in captions):
            raise ValueError(f"captions of every image are needed, {missing} of {len(captions)} have none")
        return cls(TfidfVectorizer(stop_words="english").fit_transform(list(map(str, captions))))

    @property
    def chance(self) -> float:
        """Mean likeness of two different images."""
        n = self.words.shape[0]
        total = float(np.square(np.asarray(self.words.sum(axis=0))).sum())
        return (total - float(self.words.multiply(self.words).sum())) / (n * (n - 1))

    def likeness(self, lists: Int[np.ndarray, "n c"]) -> Float64[np.ndarray, " n"]:
        """Mean likeness of every image to its nearest, 0..1."""
        nearest = lists[:, :NEAREST]
        each = [
            np.asarray(self.words.multiply(self.words[nearest[:, place]]).sum(axis=1)).ravel()
            for place in range(nearest.shape[1])
        ]
        return np.minimum(np.mean(each, axis=0), 1.0)

    def in_halves(self, rows: Int[np.ndarray, " m"]) -> InHalves:
        """What gives the likeness of every image to its nearest in its half; none for too few images."""
        some = self.words[rows]
        likeness = (some @ some.T).toarray()
        own = np.arange(len(rows))[:, None]

        def mean_of(side: Halved, nearest: int) -> Column:
            return np.asarray(likeness[own, side.nearest(nearest)].mean(axis=1))

        def values(before: Halved, after: Halved) -> dict[str, Column | tuple[Column, Column]]:
            if len(rows) // 2 <= 2 * NEAREST:
                return {}
            sides = {"caption_pre": before, "caption_post": after}
            return {
                name: (mean_of(side, NEAREST), mean_of(side, NEAREST // 2)) for name, side in sides.items()
            }

        return values

    def figures(
        self, pre: Side, post: Side, effects: Mapping[str, Effect]
    ) -> tuple[dict[str, Float64[np.ndarray, " n"]], dict[str, Score]]:
        """Values per image and scores."""
        sides = {"caption_pre": pre, "caption_post": post}
        columns = {name: self.likeness(side.lists) for name, side in sides.items()}
        scores = {
            name: mean_score(column, effects.get(name), chance=self.chance, drawn=pre.drawn)
            for name, column in columns.items()
        }
        return columns, scores
