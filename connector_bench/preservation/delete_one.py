"""Mean overlap without each image in turn, exact and with no further search."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int


def overlap_without_each(
    pre_neighbours: Int[np.ndarray, "n c"], post_neighbours: Int[np.ndarray, "n c"], k: int
) -> Float64[np.ndarray, " n"]:
    """Mean overlap of the other `n - 1` images when image `j` is gone from queries and gallery, for every `j`.

    A list that loses one of its first `k` neighbours takes in its next one, so `c >= k + 1`.

    Raises:
        ValueError: fewer columns.
    """
    n, columns = pre_neighbours.shape
    if columns < k + 1:
        raise ValueError(
            f"leaving images out at k = {k} needs {k + 1} neighbours of every image, got {columns}"
        )
    pre, post = pre_neighbours[:, :k], post_neighbours[:, :k]
    next_pre, next_post = pre_neighbours[:, k : k + 1], post_neighbours[:, k : k + 1]
    pre_kept, post_kept = _member(pre, post), _member(post, pre)
    gains_pre, gains_post = _member(next_pre, post).astype(int), _member(next_post, pre).astype(int)
    both_gain = gains_pre + gains_post + (next_pre == next_post)
    change = np.bincount(pre.ravel(), np.where(pre_kept, both_gain - 1, gains_pre).ravel(), minlength=n)
    change += np.bincount(post.ravel(), np.where(post_kept, 0, gains_post).ravel(), minlength=n)
    own = pre_kept.sum(axis=1)
    return (own.sum() - own + change) / (k * (n - 1))


def jackknife_variance(
    pre_neighbours: Int[np.ndarray, "n c"], post_neighbours: Int[np.ndarray, "n c"], k: int
) -> float:
    """Delete-one jackknife estimate of the variance of the mean overlap; too large in expectation, never too small.

    Source: Efron and Stein, Annals of Statistics 9 (1981) 586. Raises ValueError as `overlap_without_each`.
    """
    without = overlap_without_each(pre_neighbours, post_neighbours, k)
    n = len(without)
    return float((n - 1) / n * np.square(without - without.mean()).sum())


def _member(items: Int[np.ndarray, "n a"], lists: Int[np.ndarray, "n b"]) -> Bool[np.ndarray, "n a"]:
    """Whether each item stands in its own row's list."""
    row = np.arange(len(items), dtype=np.int64)[:, None] * (max(int(items.max()), int(lists.max())) + 1)
    return np.isin(row + items, row + lists)
