"""Simple ways to figures that the package computes in another way."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import linalg, spatial

from connector_bench.preservation import geometry
from connector_bench.stats import jackknife
from connector_bench.stats.intervals import Score, same_length


def paired_difference(
    a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"], *, seed: int = 0, confidence: float = 0.95
) -> Score:
    """Mean of `a - b` over the same images, by their jackknife. ValueError as `jackknife.mean`."""
    first, second = same_length(a, b)
    return jackknife.mean(first - second, confidence=confidence, chance=0.0)


def tie_groups(
    values: Sequence[Float[np.ndarray, " n"]],
    *,
    seed: int = 0,
    confidence: float = 0.95,
    higher_is_better: bool = True,
) -> list[int]:
    """Rank of each model (1 = best) from per-image values on the same images; models that cannot be told
    apart share a rank.

    Models are put in order of their mean. A group begins at its best model and takes in those that follow
    while the paired interval of their difference to that best model covers 0.

    Raises:
        ValueError: as `paired_difference`.
    """
    sign = 1.0 if higher_is_better else -1.0
    order = sorted(range(len(values)), key=lambda i: -sign * float(np.mean(values[i])))
    ranks = [0] * len(values)
    leader = None
    for place, model in enumerate(order, start=1):
        if leader is not None:
            gap = paired_difference(values[leader], values[model], seed=seed, confidence=confidence)
            if gap.low <= 0 <= gap.high:
                ranks[model] = ranks[leader]
                continue
        leader, ranks[model] = model, place
    return ranks


def effective_rank(vectors: Float[np.ndarray, "n d"]) -> float:
    """`geometry.effective_rank` of vectors, less their mean."""
    return geometry.effective_rank(_spectrum(vectors))


def top1_energy(vectors: Float[np.ndarray, "n d"]) -> float:
    """`geometry.top1_energy` of vectors, less their mean."""
    return geometry.top1_energy(_spectrum(vectors))


def _spectrum(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " r"]:
    points = vectors.astype(np.float64)
    return linalg.svdvals(points - points.mean(axis=0))


def procrustes_similarity(pre: Float[np.ndarray, "n d_pre"], post: Float[np.ndarray, "n d_post"]) -> float:
    """From scipy's disparity, the narrower side padded with zeros."""
    wide = max(pre.shape[1], post.shape[1])
    padded = [np.pad(side.astype(float), ((0, 0), (0, wide - side.shape[1]))) for side in (pre, post)]
    return float(np.sqrt(1 - spatial.procrustes(*padded)[2]))
