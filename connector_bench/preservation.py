"""`knn_preservation` over a stream of images: pooled vectors in, figures per image out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from connector_bench import knn, stats
from connector_bench.exchange import on_first_rank
from connector_bench.protocol import PreservationOptions

if TYPE_CHECKING:
    from connector_bench.types import TokenPair


@dataclass(frozen=True)
class PooledVectors:
    """One vector per image on each side of the connector."""

    images: tuple[str, ...]
    pre: Float[np.ndarray, "n d_pre"]
    post: Float[np.ndarray, "n d_post"]


@dataclass(frozen=True)
class PreservationFigures:
    """What `knn_preservation` found: figures per image and, for the whole set, intervals and provenance."""

    per_image: dict[str, dict[str, float]]
    summary: dict[str, object]
    warnings: tuple[str, ...] = field(default=())


class PooledPreservation:
    """Gathers mean-pooled vectors image by image; `finish` merges all ranks and finds the overlaps."""

    def __init__(self, options: PreservationOptions) -> None:
        self.options = options
        self._images: list[str] = []
        self._pre: list[Float[np.ndarray, " d_pre"]] = []
        self._post: list[Float[np.ndarray, " d_post"]] = []

    def update(self, image: str, pair: TokenPair) -> None:
        """Take in one image. Raises ValueError where the features hold NaN or infinity, naming image and side."""
        pre = pair.pre_normed if self.options.tap == "pre_normed" else pair.pre
        if pre is None:
            raise ValueError("tap pre_normed was asked for, but this connector has no leading norm; use tap pre")
        self._images.append(image)
        self._pre.append(_pooled(pre.numpy(), image, "pre (the connector's input)"))
        self._post.append(_pooled(pair.post.numpy(), image, "post (the connector's output)"))

    def finish(self) -> PreservationFigures:
        """Figures over the images of all ranks, the same on every rank."""
        return on_first_rank(lambda parts: preservation_figures(merged(parts), self.options), self._vectors())

    def _vectors(self) -> PooledVectors:
        if not self._images:
            return PooledVectors((), np.empty((0, 0), np.float32), np.empty((0, 0), np.float32))
        return PooledVectors(tuple(self._images), np.stack(self._pre), np.stack(self._post))


def _pooled(tokens: Float[np.ndarray, "n d"], image: str, side: str) -> Float[np.ndarray, " d"]:
    vector = tokens.mean(axis=0, dtype=np.float64).astype(np.float32)
    if not np.isfinite(vector).all():
        raise ValueError(
            f"features of image {image[:12]} at {side} hold NaN or infinity; "
            "half precision may have overflowed: load the model in float32 or bfloat16"
        )
    return vector


def merged(parts: Sequence[PooledVectors]) -> PooledVectors:
    """All ranks' vectors with every image once, sorted by image, so that no figure depends on who held what."""
    filled = [part for part in parts if part.images]
    if not filled:
        return parts[0]
    names = np.array([name for part in filled for name in part.images])
    _, first = np.unique(names, return_index=True)
    pre, post = (np.concatenate([getattr(part, side) for part in filled])[first] for side in ("pre", "post"))
    return PooledVectors(tuple(names[first].tolist()), pre, post)


def preservation_figures(vectors: PooledVectors, options: PreservationOptions) -> PreservationFigures:
    """Overlap of every image's neighbours before and after, raw and chance-adjusted, for every k that N allows.

    Raises ValueError when N allows none: k needs at least k + 2 images, since with k = N - 1 neighbours any two
    sets agree.
    """
    n = len(vectors.images)
    ks = tuple(k for k in options.ks if k <= n - 2)
    if not ks:
        raise ValueError(
            f"k = {', '.join(map(str, options.ks))} needs at least {min(options.ks) + 2} different images, got {n}"
        )
    before, after = (knn.neighbours(side, max(ks), options.distance) for side in (vectors.pre, vectors.post))
    columns: dict[str, Float[np.ndarray, " n"]] = {}
    summary_scores: dict[str, object] = {}
    for k in ks:
        overlap = knn.overlap(before, after, k)
        columns[f"knor_{k}"] = overlap
        columns[f"knor_adj_{k}"] = np.asarray(knn.adjusted(overlap, k, n))
        summary_scores[f"knor_{k}"] = asdict(
            stats.bootstrap_mean(overlap, seed=options.seed, chance=knn.chance(k, n))
        )
    rows = {
        name: {"n_images": n} | {column: float(values[row]) for column, values in columns.items()}
        for row, name in enumerate(vectors.images)
    }
    summary = {
        "options": asdict(options),
        "n_images": n,
        "images_sha256": images_fingerprint(vectors.images),
        "pre_width": int(vectors.pre.shape[1]),
        "post_width": int(vectors.post.shape[1]),
        "scores": summary_scores,
    }
    left_out = [k for k in options.ks if k not in ks]
    warnings = [f"k = {k} left out: it needs at least {k + 2} different images, got {n}" for k in left_out]
    return PreservationFigures(rows, summary, tuple(warnings))


def images_fingerprint(images: Sequence[str]) -> str:
    """One hash for a set of images, whatever their order: figures of other sets must not be compared."""
    return hashlib.sha256("\n".join(sorted(images)).encode()).hexdigest()
