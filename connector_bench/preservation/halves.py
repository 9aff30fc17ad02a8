"""Random halves of a set of images: two disjoint galleries, hence independent ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool


def random_halves(n: int, trials: int, seed: int) -> Iterator[Bool[np.ndarray, " n"]]:
    """Masks of `n // 2` of n images; they depend on the three numbers alone."""
    rng = np.random.default_rng(seed)
    for _ in range(trials):
        half = np.zeros(n, dtype=bool)
        half[rng.choice(n, n // 2, replace=False)] = True
        yield half
