"""Retrieval of images of the same class, before and after a connector: recall at k, mean average precision,
and the difference.

The query is left out by its index. An image whose class has no other image is no query, though it stays in
the gallery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Shaped
from scipy import special, stats

from connector_bench.preservation.ranking import full_ranking
from connector_bench.preservation.search import neighbours
from connector_bench.stats import Score, bootstrap_mean, paired_difference, spearman


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
    table).

    Raises:
        ValueError: labels or vectors of different counts, fewer than two queries, and what `neighbours`
            refuses.
    """
    labels = np.asarray(labels)
    if not len(pre) == len(post) == len(labels) or labels.ndim != 1:
        raise ValueError(
            f"one label an image: got {len(pre)} pre, {len(post)} post, labels of shape {labels.shape}"
        )
    _, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    relevant = sizes[group] - 1
    queries = relevant > 0
    if queries.sum() < 2:
        raise ValueError(f"retrieval needs 2 images that share their class with another, got {queries.sum()}")
    before, after = (_per_image(side, group, relevant, ks, distance, device) for side in (pre, post))
    names = {f"recall_{k}": ("recall", f"_{k}") for k in ks} | {"map": ("map", "")}
    scores = {}
    for key, (stem, tail) in names.items():
        floor = _chance(key, relevant[queries], len(labels))
        asked = {"pre": before[key][queries], "post": after[key][queries]}
        for side, values in asked.items():
            score = bootstrap_mean(values, seed=seed, confidence=confidence, chance=floor)
            scores[f"{stem}_{side}{tail}"] = score
        difference = paired_difference(asked["post"], asked["pre"], seed=seed, confidence=confidence)
        scores[f"{stem}_diff{tail}"] = difference
    return Retrieval(len(labels), queries, distance, before, after, scores)


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


def _chance(key: str, relevant: Int[np.ndarray, " q"], n: int) -> float:
    """Expected value for a random order of the other `n - 1` images, averaged over the queries."""
    others = n - 1
    if key.startswith("recall_"):
        return float(1 - stats.hypergeom.pmf(0, others, relevant, int(key.removeprefix("recall_"))).mean())
    harmonic = float(special.digamma(n) - special.digamma(1))
    spread = (relevant - 1) / max(others - 1, 1)
    return float(((spread * (others - harmonic) + harmonic) / others).mean())
