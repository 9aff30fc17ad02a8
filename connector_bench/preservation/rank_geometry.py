"""Trustworthiness, continuity and information imbalance of a set of images, with their intervals."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from connector_bench.preservation import geometry
from connector_bench.preservation.design_effect import Kind, design_effects, drawn, mean_score
from connector_bench.preservation.halved import Halved, Ordered
from connector_bench.stats.intervals import Score

K = 10
"""Neighbours that trustworthiness and continuity look at."""

KINDS: dict[str, Kind] = {
    "imbalance_pre_post": "positive",
    "imbalance_post_pre": "positive",
    "trustworthiness": "close to 1",
    "continuity": "close to 1",
}

Columns = dict[str, Float64[np.ndarray, " n"]]


def rank_geometry(
    pre: Float[np.ndarray, "n d_pre"],
    post: Float[np.ndarray, "n d_post"],
    pre_neighbours: Int[np.ndarray, "n c"],
    post_neighbours: Int[np.ndarray, "n c"],
    *,
    distance: str = "l2",
    seed: int = 0,
) -> tuple[Columns, dict[str, Score]]:
    """Values per image, and means with intervals; trustworthiness and continuity where 2 K + 1 images allow them.

    Raises:
        ValueError: as the functions of `geometry`.
    """
    columns = {
        "imbalance_pre_post": geometry.information_imbalance(
            pre, post, distance=distance, a_neighbours=pre_neighbours
        ),
        "imbalance_post_pre": geometry.information_imbalance(
            post, pre, distance=distance, a_neighbours=post_neighbours
        ),
    }
    if len(pre) > 2 * K and pre_neighbours.shape[1] >= K:
        columns["trustworthiness"] = geometry.trustworthiness(
            pre, post, K, distance=distance, post_neighbours=post_neighbours
        )
        columns["continuity"] = geometry.continuity(
            pre, post, K, distance=distance, pre_neighbours=pre_neighbours
        )
    effects = _effects(pre, post, distance, seed)
    scores = {
        name: mean_score(column, effects.get(name), kind=KINDS[name]) for name, column in columns.items()
    }
    return columns, scores


def _effects(pre: np.ndarray, post: np.ndarray, distance: str, seed: int) -> dict[str, float]:
    rows = drawn(len(pre), seed)
    if len(rows) // 2 <= 2 * K:
        return {}
    before, after = (Ordered.of(side[rows], distance) for side in (pre, post))

    def in_halves(half: Bool[np.ndarray, " n"]) -> Columns:
        return _values(before.inside(half), after.inside(half))

    return design_effects(in_halves, len(rows), seed=seed)


def _values(before: Halved, after: Halved) -> Columns:
    """Every image's values in its half, up to factors that are the same for all images."""
    pre_lists, post_lists = before.nearest(K), after.nearest(K)
    return {
        "imbalance_pre_post": after.rank_of(pre_lists[:, :1])[:, 0].astype(np.float64),
        "imbalance_post_pre": before.rank_of(post_lists[:, :1])[:, 0].astype(np.float64),
        "trustworthiness": -np.maximum(before.rank_of(post_lists) - K, 0).sum(axis=1).astype(np.float64),
        "continuity": -np.maximum(after.rank_of(pre_lists) - K, 0).sum(axis=1).astype(np.float64),
    }
