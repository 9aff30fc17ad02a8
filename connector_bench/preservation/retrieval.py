"""Retrieval of images of the same class, before and after a connector: recall at k, mean average precision, the share
of the nearest that have the same class (purity), and the difference.

The query is left out by its index. An image whose class has no other image is no query, though it stays in
the gallery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Shaped
from scipy import special, stats

from connector_bench.preservation.design_effect import (
    Column,
    Effect,
    InHalves,
    Kind,
    design_effects,
    mean_score,
)
from connector_bench.preservation.drawn_together import Drawn
from connector_bench.preservation.neighbours.ranking import Halved, Ordered, average_precision
from connector_bench.preservation.side import Side, both_sides
from connector_bench.stats.correlation import spearman
from connector_bench.stats.floors import LEAST_IMAGES
from connector_bench.stats.intervals import Score

KS = (1, 5)
NEAREST = 10
"""The nearest whose classes purity looks at."""


@dataclass(frozen=True)
class Retrieval:
    """Label retrieval on one set of images with the vectors of both sides; keys are `recall_<k>`, `map`
    and `purity`."""

    n: int
    """Images in the gallery."""
    queries: Bool[np.ndarray, " n"]
    """Images that were asked for: those with another of their class."""
    pre: Mapping[str, Float64[np.ndarray, " n"]]
    """One value per image before the connector; NaN where the image is no query."""
    post: Mapping[str, Float64[np.ndarray, " n"]]
    scores: Mapping[str, Score]
    """`recall_pre_<k>`, `recall_post_<k>`, `recall_diff_<k>`, `map_pre`, `map_post`, `map_diff`, and `purity_` likewise
    where there are enough images; diff is post - pre, paired."""

    def columns(self) -> dict[str, Float64[np.ndarray, " n"]]:
        """The values per image by the names that their means have in `scores`."""
        sides = {"pre": self.pre, "post": self.post}
        return {
            metric_name(key, side): values for side, found in sides.items() for key, values in found.items()
        }


def retrieval(
    pre: Float[np.ndarray, "n d_pre"],
    post: Float[np.ndarray, "n d_post"],
    labels: Shaped[np.ndarray, " n"],
    *,
    ks: Sequence[int] = KS,
    distance: str = "l2",
    drawn: Drawn | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    device: str = "cpu",
) -> Retrieval:
    """Measure how well images of the same class are found before and after the connector.

    Recall at k is 1 for a query with an image of its class among its k nearest, else 0 (as in the paper's CUB
    table). Purity is the share of a query's `NEAREST` nearest that are of its class; it needs two more images than
    those. Intervals are for galleries of as many other images of the same classes, and for other groups of images where
    some were `drawn` together.

    Raises:
        ValueError: labels or vectors of different counts, what `classes_of` refuses, and what `neighbours` refuses.
    """
    labels = np.asarray(labels)
    if not len(pre) == len(post) == len(labels) or labels.ndim != 1:
        raise ValueError(
            f"one label per image: got {len(pre)} pre, {len(post)} post, labels of shape {labels.shape}"
        )
    classes = classes_of(labels.tolist())
    columns = max(*ks, min(NEAREST, len(pre) - 1))
    sides = both_sides(
        pre, post, columns, distance=distance, classes=(classes,), drawn=drawn, seed=seed, device=device
    )
    samples = sides[0].sample, sides[1].sample
    sampled = sides[0].sampled
    halves = retrieval_in_halves(*samples, classes[sampled], ks=ks)
    effects = design_effects(*samples, [halves], drawn=sides[0].drawn.take(sampled), seed=seed)
    return class_retrieval(*sides, classes, effects, ks=ks, confidence=confidence)


def class_retrieval(
    pre: Side,
    post: Side,
    classes: Int[np.ndarray, " n"],
    effects: Mapping[str, Effect],
    *,
    ks: Sequence[int] = KS,
    number: int = 0,
    confidence: float = 0.95,
) -> Retrieval:
    """`retrieval` from sides that were searched with these classes, the `number`-th of several; `effects` see
    `retrieval_in_halves`."""
    relevant = np.bincount(classes)[classes] - 1
    queries = relevant > 0
    before, after = (_per_image(side, classes, queries, ks, number) for side in (pre, post))
    scores = {}
    for key in before:
        known = np.isfinite(before[key])
        if known.sum() < 2:
            continue
        floor = _chance(key, relevant[known], len(classes))
        asked = {"pre": before[key][known], "post": after[key][known]}
        drawn: dict[str, Any] = {
            "confidence": confidence,
            "drawn": pre.drawn.take(np.flatnonzero(known)),
            "drawn_from": int(queries.sum()),
        }
        names = {side: metric_name(key, side) for side in ("pre", "post", "diff")}
        for side, values in asked.items():
            effect = effects.get(names[side])
            kind: Kind = "share" if key.startswith("recall") else "precision"
            scores[names[side]] = mean_score(values, effect, kind=kind, chance=floor, **drawn)
        difference, effect = asked["post"] - asked["pre"], effects.get(names["diff"])
        kind = "difference of hits" if key.startswith("recall") else "difference"
        scores[names["diff"]] = mean_score(difference, effect, kind=kind, chance=0.0, **drawn)
    return Retrieval(len(classes), queries, before, after, scores)


def classes_of(labels: Sequence[object]) -> Int[np.ndarray, " n"]:
    """Labels as the numbers of their classes.

    Raises:
        ValueError: images without a label (`class_of`), a single class, or fewer than two images that share theirs.
    """
    named = [class_of(label) for label in labels]
    if missing := named.count(None):
        raise ValueError(f"retrieval needs a label of every image, {missing} of {len(named)} have none")
    distinct, classes, sizes = np.unique(np.array(named), return_inverse=True, return_counts=True)
    if len(distinct) == 1:
        raise ValueError(
            f"retrieval needs 2 classes, all {len(named)} images are of class {distinct[0]:.60}; of a data set that is "
            "sorted by class --limit takes the first class alone, where the option gallery draws from all"
        )
    if (sizes == 1).all():
        raise ValueError("retrieval needs 2 images that share their class with another, got 0")
    return classes


def class_of(label: object) -> str | None:
    """The class that a label names; None for what data sets write where there is none: None, NaN, -1 or nothing."""
    if label is None or (isinstance(label, Real) and (label == -1 or label != label)):
        return None
    return str(label).strip() or None


def caption_of(value: object) -> str | None:
    """The captions of an image, one a line: of one text or a list of texts; None where there is none."""
    given = value if isinstance(value, (list, tuple)) else [value]
    lines = [" ".join(text.split()) for text in given if isinstance(text, str) and text.strip()]
    return "\n".join(lines) or None


def overlap_recall(
    overlap: Float[np.ndarray, " n"],
    recall: Float[np.ndarray, " n"],
    *,
    drawn: Drawn | None = None,
    seed: int = 0,
) -> Score:
    """Spearman's correlation over the queries of neighbour overlap and recall (NaN where an image is no
    query): do images whose neighbours change also lose their retrieval? -1..1, chance 0; NaN where one of
    them is constant.

    Raises:
        ValueError: lengths that differ, or fewer than 3 queries.
    """
    overlap, recall = np.asarray(overlap), np.asarray(recall)
    if overlap.shape != recall.shape:
        raise ValueError(f"one value per image: got {overlap.shape} overlaps and {recall.shape} recalls")
    asked = ~np.isnan(recall)
    held = Drawn.alone(len(overlap)).take(asked) if drawn is None else drawn.take(asked)
    if held.independent or held.worth >= LEAST_IMAGES:
        return spearman(overlap[asked], recall[asked], clusters=held.group, unit=held.unit, seed=seed)
    return held.floored(spearman(overlap[asked], recall[asked], seed=seed), LEAST_IMAGES)


def retrieval_in_halves(
    pre: Ordered, post: Ordered, classes: Int[np.ndarray, " n"], *, ks: Sequence[int] = KS
) -> InHalves:
    """What gives recall, average precision and purity of every image in its half, on both sides and their difference.

    NaN where the half holds no other of its class, and none for too few images."""
    before_same, after_same = (classes[side.others] == classes[:, None] for side in (pre, post))

    def values(before: Halved, after: Halved) -> dict[str, Column | tuple[Column, Column]]:
        if len(classes) // 2 <= 2 * max(ks):
            return {}
        first, second = _in_halves(before, before_same, ks), _in_halves(after, after_same, ks)
        sides = {"pre": first, "post": second, "diff": {key: second[key] - first[key] for key in first}}
        found: dict[str, Column | tuple[Column, Column]] = {
            metric_name(key, side): column
            for side, columns in sides.items()
            for key, column in columns.items()
        }
        if "purity" in first:
            for side, halved, same in (("pre", before, before_same), ("post", after, after_same)):
                compared = _purity_in_halves(halved, same, NEAREST // 2)
                found[metric_name("purity", side)] = (sides[side]["purity"], compared)
        return found

    return values


def metric_name(key: str, side: str) -> str:
    """`recall_5` on side `pre` is `recall_pre_5`, `map` is `map_pre`."""
    stem, *tail = key.split("_")
    return "_".join([stem, side, *tail])


def _per_image(
    side: Side, classes: np.ndarray, queries: np.ndarray, ks: Sequence[int], number: int
) -> dict[str, Float64[np.ndarray, " n"]]:
    same = classes[side.lists[:, : max(*ks, NEAREST)]] == classes[:, None]
    found = {f"recall_{k}": np.where(queries, same[:, :k].any(axis=1), np.nan) for k in ks}
    if len(side) >= NEAREST + 2:
        found["purity"] = np.where(queries, same[:, :NEAREST].mean(axis=1), np.nan)
    return found | {"map": side.spread(side.precisions[number])}


def _in_halves(
    side: Halved, same_class: Bool[np.ndarray, "n others"], ks: Sequence[int]
) -> dict[str, Float64[np.ndarray, " n"]]:
    same = side.mine & same_class
    first = np.where(same.any(axis=1), side.rank[np.arange(len(same)), same.argmax(axis=1)], np.nan)
    found = {f"recall_{k}": np.where(np.isnan(first), np.nan, first <= k) for k in ks}
    if len(same) // 2 > 2 * NEAREST:
        found["purity"] = _purity_in_halves(side, same_class, NEAREST)
    return found | {"map": average_precision(same, side.rank)}


def _purity_in_halves(
    side: Halved, same_class: Bool[np.ndarray, "n others"], nearest: int
) -> Float64[np.ndarray, " n"]:
    same = side.mine & same_class
    return np.where(same.any(axis=1), (same & (side.rank <= nearest)).sum(axis=1) / nearest, np.nan)


def _chance(key: str, relevant: Int[np.ndarray, " q"], n: int) -> float:
    """Expected value for a random order of the other `n - 1` images, averaged over the queries."""
    others = n - 1
    if key == "purity":
        return float(relevant.mean() / others)
    if key.startswith("recall_"):
        return float(1 - stats.hypergeom.pmf(0, others, relevant, int(key.removeprefix("recall_"))).mean())
    harmonic = float(special.digamma(n) - special.digamma(1))
    spread = (relevant - 1) / max(others - 1, 1)
    return float(((spread * (others - harmonic) + harmonic) / others).mean())
