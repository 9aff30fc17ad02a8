"""One side's image vectors along their principal axes, decomposed once for every figure of the whole set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy import linalg

from connector_bench.preservation.neighbours.space import as_vectors


@dataclass(frozen=True, eq=False)
class Principal:
    """Vectors less their mean, turned onto their principal axes: inner products between images are the same."""

    coordinates: Float64[np.ndarray, "n r"]
    """Along the r = min(n, d) axes, the widest first; the columns are orthogonal."""
    singular: Float64[np.ndarray, " r"]
    """Their norms, which fall."""
    width: int
    """d of the vectors."""
    varying: Bool[np.ndarray, " r"]
    """Axes along which the images differ by more than the rounding of fp32."""

    @classmethod
    def of(cls, vectors: Float[np.ndarray, "n d"]) -> Principal:
        """In float64, from the triangular factor of the smaller side.

        Raises:
            ValueError: vectors that are not finite.
        """
        x = as_vectors(vectors).astype(np.float64)
        n, width = x.shape
        rounding = 1e-7 * np.abs(x).max() * np.sqrt(n)
        x -= x.mean(axis=0)
        factor = linalg.qr(x if n >= width else x.T, mode="r", check_finite=False)[0][: min(n, width)]
        if n >= width:
            _, singular, axes = linalg.svd(factor, overwrite_a=True, check_finite=False)
            coordinates = x @ axes.T
        else:
            basis, singular, _ = linalg.svd(factor.T, overwrite_a=True, check_finite=False)
            coordinates = basis * singular
        return cls(coordinates, singular, width, singular > rounding)

    def __len__(self) -> int:
        return len(self.coordinates)

    @property
    def sizes(self) -> Float64[np.ndarray, " n"]:
        """Every image's squared distance from the mean."""
        return np.square(self.coordinates).sum(axis=1)


def same_images(pre: Principal, post: Principal) -> int:
    """How many images both sides hold; ValueError where they differ."""
    if len(pre) != len(post):
        raise ValueError(f"both sides hold the same images, got {len(pre)} and {len(post)} vectors")
    return len(pre)
