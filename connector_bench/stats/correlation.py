"""Rank correlation of two values per image, with its interval."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from connector_bench.stats.cluster_jackknife import ranks_without_each, score_of
from connector_bench.stats.intervals import Score, same_length


def spearman(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], *, seed: int = 0) -> Score:
    """Spearman's rank correlation (ties at their mean rank) with a jackknife interval over images; -1..1,
    chance 0.

    Where one side is constant there is no order: value and interval are NaN. `seed` decides which images are left out
    together where there are very many.

    Raises:
        ValueError: lengths that differ, values not finite, or fewer than 3 images.
    """
    first, second = same_length(x, y, least=3)
    none = np.zeros((0, len(first)), dtype=bool)
    found = ranks_without_each(np.stack([first, second]), none, np.arange(len(first)), seed=seed)
    return score_of(found.correlations[:, 0, 1], found.clusters, chance=0.0, unit="images")
