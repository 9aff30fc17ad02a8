"""k-NN preservation: how many of an image's nearest neighbours before the connector are still there after it.

`R(x, k) = |N_pre(x, k) & N_post(x, k)| / k`, the overlap of "Lost in Embeddings" (arXiv 2509.11986), with
every image left out of its own neighbours. Under chance it is `k / (n - 1)`, and it falls as n grows: n, k
and chance go with every score.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Shaped

from connector_bench.preservation.drawn_together import Drawn
from connector_bench.preservation.gain import AgreementWith
from connector_bench.preservation.neighbours.search import neighbours
from connector_bench.preservation.neighbours.space import DISTANCES, Space, all_the_same, as_vectors
from connector_bench.preservation.overlap import allowed_ks, chance, chance_corrected, overlap, too_few
from connector_bench.preservation.overlap_interval import depth, scores_of_overlap
from connector_bench.preservation.reference import ReferenceVectors
from connector_bench.preservation.retrieval import Retrieval, retrieval
from connector_bench.preservation.searched_gallery import Columns, Scores, SearchedGallery
from connector_bench.stats import jackknife
from connector_bench.stats.intervals import Score

__all__ = [
    "DISTANCES",
    "PreservedNeighbours",
    "chance",
    "chance_corrected",
    "knn_preservation",
    "neighbours",
    "overlap",
    "paper_overlap",
]

KS = (1, 10, 50, 100)
"""The k that are reported; the paper's are the last three."""

_PAPER_TOPK = 100
_PAPER_BATCHES = {"pre": 100, "post": 50}


def paper_overlap(
    pre: Float[np.ndarray, "n d_pre"], post: Float[np.ndarray, "n d_post"], k: int, distance: str = "l2"
) -> Float64[np.ndarray, " n"]:
    """Per-image overlap by the published procedure (`protocol=paper`), for comparison with the paper's tables
    only.

    faiss `IndexFlatL2`, top 100 (or k, if larger) in batches of 100 queries before and 50 after the
    connector, the image itself counted as a neighbour, ties in whatever order faiss leaves them. Without ties
    it equals `(1 + (k - 1) R_{k-1}) / k`. Another `distance` is that of index and query alike: vectors are normalised
    or standardised before, in fp32, where the published code did so to its queries alone.

    Raises:
        ValueError: arrays that are no vectors of the same images, or `k` outside 1..n.
    """
    sides = {"pre": _in_space(pre, "pre", distance), "post": _in_space(post, "post", distance)}
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


def _in_space(vectors: np.ndarray, name: str, distance: str) -> np.ndarray:
    """Vectors whose L2 distance is the distance asked for, in fp32."""
    given = as_vectors(vectors, name)
    if distance == "l2":
        return given
    space, rows = Space.of(given, distance), slice(0, len(given))
    return (space.exact(rows) if distance == "cosine" else space.centred(rows)).astype(np.float32)


@dataclass(frozen=True)
class PreservedNeighbours:
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
    halving_gaps: Mapping[int, Float64[np.ndarray, " t"]] = field(default_factory=dict)
    """For each k that a half of the images can hold, overlap in one half less that in the other, over random halves;
    by these, two connectors on the same images are compared."""
    gained: tuple[Columns, Scores] | None = None
    """By image, and over all with intervals as plain values, where a reference was given."""


def knn_preservation(
    pre: Float[np.ndarray, "n d_pre"],
    post: Float[np.ndarray, "n d_post"],
    *,
    ks: Sequence[int] = KS,
    distance: str = "l2",
    seed: int = 0,
    labels: Shaped[np.ndarray, " n"] | None = None,
    clusters: Shaped[np.ndarray, " n"] | None = None,
    drawn: Drawn | None = None,
    reference: ReferenceVectors | None = None,
    confidence: float = 0.95,
    device: str = "cpu",
) -> PreservedNeighbours:
    """Overlap of neighbours before and after a connector, for any two arrays of image vectors (mean-pooled
    tokens, say).

    Args:
        pre: one vector per image before the connector; row i of `post` is the same image after it.
        post: the vectors after the connector, of any width.
        ks: neighbourhood sizes; one search at the largest serves all.
        distance: one of `DISTANCES`, for both sides.
        seed: of whatever is drawn for the intervals.
        labels: a class per image; adds retrieval of images of the same class.
        clusters: a group per image (near-duplicates, video frames ...) that belong together. The interval
            then holds the gallery fixed; without clusters it is for galleries of as many other images.
        drawn: which images were drawn together; intervals are for galleries of as many other such groups.
        reference: an independent space of the same images; adds gain, at 95 % and over other galleries.
        confidence: of the intervals.
        device: where the search runs; see `neighbours`.

    Raises:
        ValueError: no k that n images allow, different numbers of images, vectors that are not finite, one vector for
            all images before the connector, or an unknown distance.

    Warns:
        UserWarning: naming each k that n images do not allow and that is left out.
    """
    n = _images(pre, post)
    asked, ks = ks, allowed_ks(ks, n)
    if said := too_few({f"k = {k}": k + 2 for k in asked}, n):
        warnings.warn(said, stacklevel=2)
    require_neighbours(pre)
    drawn = drawn or Drawn.alone(n)
    columns = depth(max(ks), n, drawn.most)
    before, after = (neighbours(side, columns, distance, device=device) for side in (pre, post))
    overlaps = {k: overlap(before, after, k) for k in ks}
    gaps: dict[int, Float64[np.ndarray, " t"]] = {}
    if clusters is None:
        gallery = SearchedGallery.of(before, after, ks, seed=seed, drawn=drawn)
        found_gaps = gallery.halvings.gaps(gallery.common)
        corrections = gallery.halvings.jackknife_correction(gallery.common, found_gaps)
        means = scores_of_overlap(gallery.common, ks, corrections, drawn=drawn, confidence=confidence)
        gaps = dict(zip(gallery.halvings.ks, found_gaps.T, strict=True))
    else:
        fixed: dict[str, Any] = {"clusters": clusters, "confidence": confidence}
        means = {k: jackknife.mean(overlaps[k], chance=chance(k, n), **fixed) for k in ks}
    scores = {f"knor_{k}": score for k, score in means.items()}
    scores |= {f"knor_adj_{k}": score.adjusted() for k, score in means.items()}
    found = None
    if labels is not None:
        found = retrieval(pre, post, labels, distance=distance, drawn=drawn, seed=seed, confidence=confidence)
    gained = None
    if reference is not None:
        if len(reference) != n:
            raise ValueError(
                f"a reference holds the same images, got {len(reference)} vectors and {n} images"
            )
        lists = reference.lists(columns, seed=seed, device=device)
        agreement = AgreementWith.of(lists, ks, seed=seed, drawn=drawn)
        gained = agreement.gains(agreement.side(before), agreement.side(after))
    return PreservedNeighbours(n, ks, distance, overlaps, scores, found, gaps, gained)


def require_neighbours(pre: Float[np.ndarray, "n d_pre"]) -> None:
    """ValueError where all images have one vector before the connector: each is then as near as any other."""
    if all_the_same(np.asarray(pre)):
        raise ValueError(
            f"the encoder's side is the same for all {len(pre)} images, so no image is nearer than another and there "
            "are no neighbours to keep: it is the wrong module, or its input is the same for all pictures"
        )


def _images(pre: np.ndarray, post: np.ndarray) -> int:
    if len(pre) != len(post):
        raise ValueError(f"pre and post hold the same images, got {len(pre)} and {len(post)} vectors")
    return len(pre)
