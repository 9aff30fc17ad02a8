"""k-NN preservation: how many of an image's nearest neighbours before the connector are still there after it.

`R(x, k) = |N_pre(x, k) & N_post(x, k)| / k`, the overlap of "Lost in Embeddings" (arXiv 2509.11986), with
every image left out of its own neighbours. Under chance it is `k / (n - 1)`, and it falls as n grows: n, k
and chance go with every score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int, Shaped

from connector_bench.preservation.retrieval import Retrieval, retrieval
from connector_bench.preservation.search import neighbours
from connector_bench.preservation.space import DISTANCES, Distance, as_vectors
from connector_bench.stats import Score, bootstrap_mean

__all__ = [
    "DISTANCES",
    "Distance",
    "KnnPreservation",
    "adjusted",
    "chance",
    "knn_preservation",
    "neighbours",
    "overlap",
    "overlap_curve",
    "paper_overlap",
]

KS = (1, 10, 50, 100)
"""The k that are reported; the paper's are the last three."""

_PAPER_TOPK = 100
_PAPER_BATCHES = {"pre": 100, "post": 50}


def overlap(
    pre_neighbours: Int[np.ndarray, "n c"], post_neighbours: Int[np.ndarray, "n c"], k: int
) -> Float64[np.ndarray, " n"]:
    """Share of each image's first `k` neighbours that both lists hold; 0..1, higher means better kept.

    Search once at the largest k and call this for each k.

    Raises:
        ValueError: arrays of different shapes, `k` outside 1..columns, or a row that names a neighbour twice.
    """
    columns = _columns(pre_neighbours, post_neighbours)
    if not 1 <= k <= columns:
        raise ValueError(f"k must lie in 1..{columns}, the number of neighbours searched, got {k}")
    return overlap_curve(pre_neighbours[:, :k], post_neighbours[:, :k])[:, -1]


def overlap_curve(
    pre_neighbours: Int[np.ndarray, "n c"], post_neighbours: Int[np.ndarray, "n c"]
) -> Float64[np.ndarray, "n c"]:
    """`overlap` for every k at once: column `k - 1` is the overlap of the first k neighbours.

    Raises:
        ValueError: arrays of different shapes, or a row that names a neighbour twice.
    """
    columns = _columns(pre_neighbours, post_neighbours)
    n = len(pre_neighbours)
    width = int(max(pre_neighbours.max(), post_neighbours.max())) + 1
    row = np.arange(n)[:, None] * width
    pre, post = (row + side for side in (pre_neighbours, post_neighbours))
    if any((np.diff(np.sort(side, axis=1), axis=1) == 0).any() for side in (pre, post)):
        raise ValueError("a row names the same neighbour twice")
    _, at_pre, at_post = np.intersect1d(pre, post, assume_unique=True, return_indices=True)
    met = np.maximum(at_pre % columns, at_post % columns)
    new = np.bincount(at_pre // columns * columns + met, minlength=n * columns).reshape(n, columns)
    return new.cumsum(axis=1) / np.arange(1, columns + 1)


def chance(k: int, n: int) -> float:
    """Expected overlap of neighbours drawn at random: `k / (n - 1)`.

    Raises:
        ValueError: `k` outside 1..n-1.
    """
    if not 1 <= k < n:
        raise ValueError(f"k must lie in 1..n-1, got k={k} with n={n}")
    return k / (n - 1)


def adjusted(overlap: float | Float[np.ndarray, " n"], k: int, n: int) -> float | Float[np.ndarray, " n"]:
    """Overlap corrected for chance, `(R - c) / (1 - c)`: 0 at chance, 1 when all is kept. NaN at k = n - 1,
    where c = 1."""
    c = chance(k, n)
    return (overlap - c) / (1 - c) if c < 1 else overlap * np.nan


def paper_overlap(
    pre: Float[np.ndarray, "n d_pre"], post: Float[np.ndarray, "n d_post"], k: int
) -> Float64[np.ndarray, " n"]:
    """Per-image overlap by the published procedure (`protocol=paper`), for comparison with the paper's tables
    only.

    faiss `IndexFlatL2`, top 100 (or k, if larger) in batches of 100 queries before and 50 after the
    connector, the image itself counted as a neighbour, ties in whatever order faiss leaves them. Without ties
    it equals `(1 + (k - 1) R_{k-1}) / k`.

    Raises:
        ValueError: arrays that are no vectors of the same images, or `k` outside 1..n.
    """
    sides = {"pre": as_vectors(pre, "pre"), "post": as_vectors(post, "post")}
    n = _images(*sides.values())
    if not 1 <= k <= n:
        raise ValueError(f"k must lie in 1..n (the image itself counts here), got k={k} with n={n}")
    import faiss

    found = []
    for name, vectors in sides.items():
        index = faiss.IndexFlatL2(vectors.shape[1])
        index.add(vectors)
        starts = range(0, n, _PAPER_BATCHES[name])
        hits = [index.search(vectors[i : i + _PAPER_BATCHES[name]], max(k, _PAPER_TOPK))[1] for i in starts]
        found.append(np.concatenate(hits)[:, :k])
    return overlap(found[0], found[1], k)


@dataclass(frozen=True)
class KnnPreservation:
    """k-NN preservation of one connector on one set of images."""

    n: int
    """Images; scores of another n are not comparable."""
    ks: tuple[int, ...]
    distance: str
    overlap: Mapping[int, Float64[np.ndarray, " n"]]
    """For each k, one overlap per image."""
    scores: Mapping[str, Score]
    """`knor_<k>` and `knor_adj_<k>`, the mean over images as measured and corrected for chance."""
    retrieval: Retrieval | None = None
    """Label retrieval before and after, where labels were given."""


def knn_preservation(
    pre: Float[np.ndarray, "n d_pre"],
    post: Float[np.ndarray, "n d_post"],
    *,
    ks: Sequence[int] = KS,
    distance: str = "l2",
    seed: int = 0,
    labels: Shaped[np.ndarray, " n"] | None = None,
    clusters: Shaped[np.ndarray, " n"] | None = None,
    confidence: float = 0.95,
    device: str = "cpu",
) -> KnnPreservation:
    """Overlap of neighbours before and after a connector, for any two arrays of image vectors (mean-pooled
    tokens, say).

    Args:
        pre: one vector per image before the connector; row i of `post` is the same image after it.
        post: the vectors after the connector, of any width.
        ks: neighbourhood sizes; one search at the largest serves all.
        distance: one of `DISTANCES`, for both sides.
        seed: of the bootstrap.
        labels: a class per image; adds retrieval of images of the same class.
        clusters: a group per image (near-duplicates, video frames ...) to be resampled together.
        confidence: of the intervals.
        device: where the search runs; see `neighbours`.

    Raises:
        ValueError: no k, k outside 1..n-1, different numbers of images, vectors that are not finite, or an
            unknown distance.
    """
    n = _images(pre, post)
    if not ks or not 1 <= min(ks) <= max(ks) < n:
        raise ValueError(f"every k must lie in 1..n-1, got ks={tuple(ks)} with n={n}")
    before, after = (neighbours(side, max(ks), distance, device=device) for side in (pre, post))
    overlaps = {k: overlap(before, after, k) for k in ks}
    scores = {}
    for k, values in overlaps.items():
        c = chance(k, n)
        score = bootstrap_mean(values, clusters=clusters, seed=seed, confidence=confidence, chance=c)
        scores[f"knor_{k}"] = score
        if c < 1:
            scores[f"knor_adj_{k}"] = score.adjusted()
    found = None
    if labels is not None:
        found = retrieval(pre, post, labels, distance=distance, seed=seed, confidence=confidence)
    return KnnPreservation(n, tuple(ks), distance, overlaps, scores, found)


def _columns(pre_neighbours: np.ndarray, post_neighbours: np.ndarray) -> int:
    if pre_neighbours.ndim != 2 or pre_neighbours.shape != post_neighbours.shape or not pre_neighbours.size:
        shapes = f"{pre_neighbours.shape} and {post_neighbours.shape}"
        raise ValueError(f"neighbour lists must have one shape [n, k], got {shapes}")
    return pre_neighbours.shape[1]


def _images(pre: np.ndarray, post: np.ndarray) -> int:
    if len(pre) != len(post):
        raise ValueError(f"pre and post hold the same images, got {len(pre)} and {len(post)} vectors")
    return len(pre)
