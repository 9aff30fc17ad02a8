"""Overlap of two sides' neighbour lists, and what it would be by chance."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64, Int


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


def _columns(pre_neighbours: np.ndarray, post_neighbours: np.ndarray) -> int:
    if pre_neighbours.ndim != 2 or pre_neighbours.shape != post_neighbours.shape or not pre_neighbours.size:
        shapes = f"{pre_neighbours.shape} and {post_neighbours.shape}"
        raise ValueError(f"neighbour lists must have one shape [n, k], got {shapes}")
    return pre_neighbours.shape[1]
