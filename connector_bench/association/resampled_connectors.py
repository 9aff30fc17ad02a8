"""Means over seeds when connectors, and for each its seeds, are drawn again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64

from connector_bench.association.values import Settings


def resampled_means(
    connectors: Sequence[Float[np.ndarray, "seeds k"]], settings: Settings
) -> Float64[np.ndarray, "draws connectors k"]:
    """Means of `k` figures over each connector's seeds, as measured (entry 0) and with both drawn again."""
    count, most = len(connectors), max(map(len, connectors))
    seeds = np.array([len(held) for held in connectors])
    values = np.zeros((count, most, connectors[0].shape[1]))
    for row, held in enumerate(connectors):
        values[row, : len(held)] = held
    rng = np.random.default_rng(settings.seed)
    drawn = rng.integers(count, size=(settings.resamples, count))
    picked = (rng.random((settings.resamples, count, most)) * seeds[drawn][..., None]).astype(int)
    wanted = np.arange(most) < seeds[drawn][..., None]
    means = (values[drawn[..., None], picked] * wanted[..., None]).sum(axis=2) / seeds[drawn][..., None]
    return np.concatenate([values.sum(axis=1)[None] / seeds[:, None], means])
