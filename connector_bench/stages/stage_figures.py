"""What is said of each kind of question: accuracy and bits on either side, what is lost where, paired by question."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from connector_bench import metrics
from connector_bench.stats import jackknife
from connector_bench.stats.intervals import Score
from connector_bench.stats.shares import paired_difference, share

OF_THESE = "; these readers, test images"
"""Ends how an interval was made: readers of another seed or of more scenes would give another figure."""
RIGHT, MODEL, GAP = "acc_model", "lost_language_model", "reader_gap"


def of_kind(name: str, kind: str) -> str:
    """What a figure of one kind of question is called."""
    return f"{name}_{kind}"


@dataclass(frozen=True)
class ReadQuestion:
    """One test question, as the readers of both sides have answered it."""

    kind: str
    image: str
    majority: bool
    """Whether the most frequent answer of its kind, in training, is right."""
    right: Mapping[str, float]
    """By reader and side, such as `attention pre`: 1 where the answer is right."""
    bits: Mapping[str, float]
    """The same: `-log2 p` of the right answer; NaN where training does not know it."""
    alone: float
    """`-log2 p` of the right answer for who hears the question alone."""

    def figures(self) -> dict[str, float]:
        """Its own part of every figure; those of its kind are means over questions."""
        pre, post = self.right["attention pre"], self.right["attention post"]
        gained = {name: self.alone - bits for name, bits in self.bits.items()}
        found = {
            "acc_pre": pre,
            "acc_post": post,
            "lost_encoder": 1 - pre,
            "lost_connector": pre - post,
            "bits_pre": gained["attention pre"],
            "bits_post": gained["attention post"],
            "bits_lost": gained["attention pre"] - gained["attention post"],
            "acc_linear_pre": self.right["linear pre"],
            "acc_linear_post": self.right["linear post"],
            "bits_linear_pre": gained["linear pre"],
            "bits_linear_post": gained["linear post"],
            "answer_bits": self.alone,
        }
        return {of_kind(name, self.kind): value for name, value in found.items() if math.isfinite(value)}


@dataclass(frozen=True)
class StageFigures:
    """Figures of every question and, for the whole set, intervals and provenance."""

    per_document: dict[int, dict[str, float]]
    summary: dict[str, object]
    warnings: tuple[str, ...] = ()
    per_image: dict[str, dict[str, float]] = field(default_factory=dict)


def metric_names(kinds: Sequence[str]) -> dict[str, bool | None]:
    """Every metric of these kinds of questions, and whether higher is better (None: neither)."""
    return metrics.reported("connector_stages", kinds=kinds)


def stage_scores(questions: Sequence[ReadQuestion], kinds: Sequence[str]) -> dict[str, Score]:
    """All figures with their intervals, which leave out scenes; a kind without questions has none."""
    scores: dict[str, Score] = {}
    for kind in kinds:
        asked = [one for one in questions if one.kind == kind]
        if not asked:
            continue
        rows = [one.figures() for one in asked]
        images = [one.image for one in asked]
        majority = float(np.mean([one.majority for one in asked]))
        names = dict.fromkeys(name for row in rows for name in row)
        for name in names:
            having = [number for number, row in enumerate(rows) if name in row]
            values = np.array([rows[number][name] for number in having])
            found = over_scenes(values, [images[number] for number in having], _interval_of(name, kind))
            scores[name] = replace(found, chance=_chance(name, kind, majority, scores))
    return scores


Interval = Callable[[Float[np.ndarray, " n"], np.ndarray], Score]


def over_scenes(values: Float[np.ndarray, " n"], images: Iterable[str], interval: Interval) -> Score:
    """Mean over questions; the interval is one over scenes."""
    score = interval(values, np.array(list(images)))
    return replace(score, method=score.method + OF_THESE) if math.isfinite(score.low) else score


def bits(values: Float[np.ndarray, " n"], scenes: np.ndarray) -> Score:
    """Mean of what has no bounds; the interval leaves out scenes."""
    return jackknife.mean(values, clusters=scenes)


def _interval_of(name: str, kind: str) -> Interval:
    """Of a figure of one kind of question: bits, a share of answers, or what two shares differ by."""
    figure = name.removesuffix(f"_{kind}")
    if "bits" in figure:
        return bits
    return paired_difference if figure == "lost_connector" else share


def model_scores(
    right: Float[np.ndarray, " n"],
    read: Mapping[str, Float[np.ndarray, " n"]],
    images: Sequence[str],
    kind: str,
    chance: float | None,
) -> dict[str, Score]:
    """The model's own accuracy on questions of a kind, beside what the readers of `pre` and `post` answer of them.

    The gap is what the model answers beyond the better of both readers.
    """
    score = replace(share(right, np.array(images)), chance=chance)
    lost = over_scenes(read["post"] - right, images, paired_difference)
    nothing = None if chance is None else float(read["post"].mean()) - chance
    best = max(read.values(), key=lambda values: float(values.mean()))
    return {
        of_kind(RIGHT, kind): score,
        of_kind(MODEL, kind): replace(lost, chance=nothing),
        of_kind(GAP, kind): over_scenes(right - best, images, paired_difference),
    }


def _chance(name: str, kind: str, majority: float, scores: Mapping[str, Score]) -> float | None:
    """What a side that holds nothing would give: the most frequent answer, no bits, all of it lost."""
    figure = name.removesuffix(f"_{kind}")
    if figure.startswith("acc_"):
        return majority
    if figure == "lost_encoder":
        return 1 - majority
    if figure == "lost_connector":
        return scores[of_kind("acc_pre", kind)].value - majority
    if figure == "bits_lost":
        return scores[of_kind("bits_pre", kind)].value
    return 0.0 if figure.startswith("bits_") else None


def read_worse_before(scores: Mapping[str, Score], kinds: Sequence[str]) -> list[str]:
    """Kinds that the reader of `post` answers better than that of `pre`, by more than their interval.

    What stands behind the connector is a function of what stands before it: a stronger reader would read at least as
    much there. So `lost_encoder` is then at most what it says, and `lost_connector` at least.
    """
    found = ((kind, scores.get(of_kind("lost_connector", kind))) for kind in kinds)
    return [kind for kind, score in found if score is not None and score.high < 0]
