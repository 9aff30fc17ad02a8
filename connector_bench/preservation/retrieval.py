"""Retrieval of images of the same class, before and after a connector: recall at k, mean average precision,
and the difference.

The query is left out by its index. An image whose class has no other image is no query, though it stays in
the gallery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Shaped
from scipy import special, stats

from connector_bench.preservation.design_effect import Kind, design_effects, drawn, mean_score
from connector_bench.preservation.halved import Halved, Ordered
from connector_bench.preservation.ranking import full_ranking
from connector_bench.preservation.search import neighbours
from connector_bench.stats.correlation import spearman
from connector_bench.stats.intervals import Score


@dataclass(frozen=True)
class Retrieval:
    """Label retrieval on one set of images with the vectors of both sides; keys are `recall_<k>` and
    `map`."""

    n: int
    """Images in the gallery."""
    queries: Bool[np.ndarray, " n"]
    """Images that were asked for: those with another of their class."""
    distance: str
    pre: Mapping[str, Float64[np.ndarray, " n"]]
    """One value per image before the connector; NaN where the image is no query."""
    post: Mapping[str, Float64[np.ndarray, " n"]]
    scores: Mapping[str, Score]
    """`recall_pre_<k>`, `recall_post_<k>`, `recall_diff_<k>`, `map_pre`, `map_post`, `map_diff`; diff is post
    - pre, paired."""


def retrieval(
    pre: Float[np.ndarray, "n d_pre"],
    post: Float[np.ndarray, "n d_post"],
    labels: Shaped[np.ndarray, " n"],
    *,
    ks: Sequence[int] = (1, 5),
    distance: str = "l2",
    seed: int = 0,
    confidence: float = 0.95,
    device: str = "cpu",
) -> Retrieval:
    """Measure how well images of the same class are found before and after the connector.

    Recall at k is 1 for a query with an image of its class among its k nearest, else 0 (as in the paper's CUB
    table). Intervals are for galleries of as many other images of the same classes.

    Raises:
        ValueError: labels or vectors of different counts, images without a label (`class_of`), a single class, fewer
            than two queries, and what `neighbours` refuses.
    """
    labels = np.asarray(labels)
    if not len(pre) == len(post) == len(labels) or labels.ndim != 1:
        raise ValueError(
            f"one label an image: got {len(pre)} pre, {len(post)} post, labels of shape {labels.shape}"
        )
    classes = [class_of(label) for label in labels.tolist()]
    if missing := classes.count(None):
        raise ValueError(f"retrieval needs a label of every image, {missing} of {len(classes)} have none")
    distinct, group, sizes = np.unique(np.array(classes), return_inverse=True, return_counts=True)
    if len(distinct) == 1:
        raise ValueError(f"retrieval needs 2 classes, all {len(classes)} images are of class {distinct[0]}")
    relevant = sizes[group] - 1
    queries = relevant > 0
    if queries.sum() < 2:
        raise ValueError(f"retrieval needs 2 images that share their class with another, got {queries.sum()}")
    before, after = (_per_image(side, group, relevant, ks, distance, device) for side in (pre, post))
    effects = _effects(pre, post, group, ks, distance, seed)
    scores = {}
    for key in before:
        floor = _chance(key, relevant[queries], len(labels))
        asked = {"pre": before[key][queries], "post": after[key][queries]}
        names = {side: _name(key, side) for side in ("pre", "post", "diff")}
        for side, values in asked.items():
            effect = effects.get(names[side])
            scores[names[side]] = mean_score(values, effect, chance=floor, confidence=confidence)
        difference, effect = asked["post"] - asked["pre"], effects.get(names["diff"])
        kind: Kind = "difference of hits" if key.startswith("recall") else "difference"
        scores[names["diff"]] = mean_score(difference, effect, kind=kind, chance=0.0, confidence=confidence)
    return Retrieval(len(labels), queries, distance, before, after, scores)


def class_of(label: object) -> str | None:
    """The class that a label names; None for what data sets write where there is none: None, NaN or -1."""
    if label is None or (isinstance(label, Real) and (label == -1 or label != label)):
        return None
    return str(label)


def overlap_recall(
    overlap: Float[np.ndarray, " n"],
    recall: Float[np.ndarray, " n"],
    *,
    seed: int = 0,
    confidence: float = 0.95,
) -> Score:
    """Spearman's correlation over the queries of neighbour overlap and recall (NaN where an image is no
    query): do images whose neighbours change also lose their retrieval? -1..1, chance 0; NaN where one of
    them is constant.

    Raises:
        ValueError: lengths that differ, or fewer than 3 queries.
    """
    overlap, recall = np.asarray(overlap), np.asarray(recall)
    if overlap.shape != recall.shape:
        raise ValueError(f"one value an image: got {overlap.shape} overlaps and {recall.shape} recalls")
    asked = ~np.isnan(recall)
    return spearman(overlap[asked], recall[asked], seed=seed, confidence=confidence)


def average_precision(relevant: Bool[np.ndarray, "q r"]) -> Float64[np.ndarray, " q"]:
    """Average precision of ranked lists, best first: mean over the relevant items of the precision at their
    rank; 0..1.

    NaN for a list without a relevant item.
    """
    precision = relevant.cumsum(axis=1) / np.arange(1, relevant.shape[1] + 1)
    with np.errstate(invalid="ignore"):
        return (precision * relevant).sum(axis=1) / relevant.sum(axis=1)


def _per_image(
    vectors: np.ndarray,
    group: np.ndarray,
    relevant: np.ndarray,
    ks: Sequence[int],
    distance: str,
    device: str,
) -> dict[str, Float64[np.ndarray, " n"]]:
    nearest = neighbours(vectors, max(ks), distance, device=device)
    same = group[nearest] == group[:, None]
    asked = relevant > 0
    found = {f"recall_{k}": np.where(asked, same[:, :k].any(axis=1), np.nan) for k in ks}
    ranked = full_ranking(vectors, distance)
    found["map"] = np.concatenate(
        [average_precision(group[order] == group[rows, None]) for rows, order in ranked]
    )
    return found


def _effects(
    pre: np.ndarray, post: np.ndarray, group: np.ndarray, ks: Sequence[int], distance: str, seed: int
) -> dict[str, float]:
    rows = drawn(len(group), seed)
    if len(rows) // 2 <= 2 * max(ks):
        return {}
    orders = [Ordered.of(side[rows], distance) for side in (pre, post)]

    def in_halves(half: Bool[np.ndarray, " n"]) -> dict[str, Float64[np.ndarray, " n"]]:
        before, after = (_in_halves(order.inside(half), group[rows], ks) for order in orders)
        sides = {"pre": before, "post": after, "diff": {key: after[key] - before[key] for key in before}}
        return {
            _name(key, side): column for side, columns in sides.items() for key, column in columns.items()
        }

    return design_effects(in_halves, len(rows), seed=seed)


def _in_halves(side: Halved, group: np.ndarray, ks: Sequence[int]) -> dict[str, Float64[np.ndarray, " n"]]:
    """Recall and average precision of every image in its half; NaN where that holds no other of its class."""
    same = side.mine & (group[side.whole.others] == group[:, None])
    relevant = same.sum(axis=1)
    row, place = np.nonzero(same)
    rank = side.rank[row, place]
    first = np.full(len(group), np.inf)
    np.minimum.at(first, row, rank)
    found = {f"recall_{k}": np.where(relevant > 0, (first <= k).astype(np.float64), np.nan) for k in ks}
    hits = np.arange(len(row)) - np.repeat(np.cumsum(relevant) - relevant, relevant) + 1
    with np.errstate(invalid="ignore"):
        found["map"] = np.bincount(row, hits / rank, minlength=len(group)) / relevant
    return found


def _name(key: str, side: str) -> str:
    """`recall_5` on side `pre` is `recall_pre_5`, `map` is `map_pre`."""
    stem, *tail = key.split("_")
    return "_".join([stem, side, *tail])


def _chance(key: str, relevant: Int[np.ndarray, " q"], n: int) -> float:
    """Expected value for a random order of the other `n - 1` images, averaged over the queries."""
    others = n - 1
    if key.startswith("recall_"):
        return float(1 - stats.hypergeom.pmf(0, others, relevant, int(key.removeprefix("recall_"))).mean())
    harmonic = float(special.digamma(n) - special.digamma(1))
    spread = (relevant - 1) / max(others - 1, 1)
    return float(((spread * (others - harmonic) + harmonic) / others).mean())
