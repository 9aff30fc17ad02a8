"""Interval of a mean overlap when the images are a sample: each is a query *and* a neighbour of others.

Resampling images as queries alone keeps the gallery fixed, and is too narrow as soon as k is a sizeable share of N:
on independent sides with N = 1000 and k = 100 it covers chance in 65 % of simulations. The delete-one jackknife takes
both roles into account and is up to four times too large a variance; `half_galleries` says by how much.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from scipy import stats

from connector_bench.preservation import half_galleries
from connector_bench.preservation.delete_one import jackknife_variance
from connector_bench.preservation.overlap import chance, overlap
from connector_bench.stats.intervals import Score, wilson


def overlap_scores(
    pre_neighbours: Int[np.ndarray, "n c"],
    post_neighbours: Int[np.ndarray, "n c"],
    ks: Sequence[int],
    *,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[int, Score]:
    """Mean overlap for each k with an interval for its expectation over galleries of as many images.

    Lists have `half_galleries.depth(max(ks), n)` columns. The interval is Wilson's, as for a share among as many
    independent trials as would have this variance: it stays inside 0..1, and at 0 or 1 it is that of n trials.

    Raises:
        ValueError: fewer than `k + 1` columns.
    """
    n = len(pre_neighbours)
    shares = half_galleries.true_share(pre_neighbours, post_neighbours, ks, seed=seed)
    freedom = half_galleries.halvings(*pre_neighbours.shape)
    quantile = float(stats.t.ppf(0.5 + confidence / 2, freedom))
    scores = {}
    for k in ks:
        if k == n - 1:
            scores[k] = Score(1.0, 1.0, 1.0, n, 1.0, "exact: all other images are neighbours")
            continue
        value = float(overlap(pre_neighbours, post_neighbours, k).mean())
        variance = jackknife_variance(pre_neighbours, post_neighbours, k) * shares.get(k, 1.0)
        corrected = "corrected in half galleries" if k in shares else "too wide: no half holds k"
        method = f"{100 * confidence:g} % Wilson interval, delete-one jackknife over images {corrected}"
        low, high = wilson(value, variance, n, quantile)
        scores[k] = Score(value, low, high, n, chance(k, n), method)
    return scores
