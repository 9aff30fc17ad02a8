"""The space in which a distance between vectors is a squared Euclidean one, exact in float64 and coarse in fp32, and
how far rounding can take the coarse one from the exact one.

Squared distances come from `|a|^2 + |b|^2 - 2 a.b`, with the product summed over runs of 256 dimensions, and
then over the runs: that costs no time, and errors grow with the length of a run instead of the dimension.

Each rounding changes an intermediate value by at most u = 2^-24 of it. Inside run r such values are at most
`|a_r| |b_r|`, among the sums of runs `|a| |b|` (Cauchy and Schwarz), in whatever order a library adds. So the
product is off by u times their sum at worst. Roundings that do not conspire keep it below `8 u` times the
root of the sum of their squares, but for a probability of 3e-14 (Azuma's inequality; Ipsen and Zhou, SIAM J.
Matrix Anal. Appl. 41 (2020) 1726). Errors of ordinary embeddings stay below an eighth of that; vectors
whose dimensions are all equal can exceed it, which the search notices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

Numbers = TypeVar("Numbers")  # a numpy array or a torch tensor

DISTANCES = ("l2", "cosine", "l2_standardized")
"""What `neighbours` measures; each is one fixed choice for queries and gallery alike."""

ULP = 2.0**-24
"""Relative rounding error of fp32."""

ROUNDING = 1e-6
"""Share of a number below which a difference is one of fp32's rounding, over whatever led to the number."""

RUN = 256
"""Dimensions summed at a stretch."""

DEVIATIONS, UNDERFLOW = 8, 2.0**-120
_CHUNK = 2**15  # elements of a float64 block that stays in the cache


def sum_by_halves(values: Float64[Numbers, "*shape d"]) -> Float64[Numbers, "*shape"]:
    """Sum along the last axis, the second half added onto the first until one number is left; `values` are spent.

    A library's own sum may depend on where a row lies in memory: equal rows would then lie at distances that differ in
    the last bit, and ties would not be ties. This one gives the same bits in every library and on every device.
    """
    array: Any = values
    width = array.shape[-1]
    while width > 1:
        kept = (width + 1) // 2
        array[..., : width - kept] += array[..., kept:width]
        width = kept
    return array[..., 0]


def as_vectors(vectors: np.ndarray, name: str = "vectors") -> Float32[np.ndarray, "n d"]:
    """The array as contiguous fp32, without a copy where it is that already.

    Raises:
        ValueError: not 2-D, no dimension, or rows with NaN or infinity (also values too large for fp32).
    """
    array = np.asarray(vectors)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} must be a 2-D array [n, d] with d >= 1, got shape {array.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        array = np.ascontiguousarray(array, dtype=np.float32)
        bad = np.flatnonzero(~np.isfinite(array.sum(axis=1, dtype=np.float64)))
    if bad.size:
        raise ValueError(
            f"{name}: {bad.size} of {len(array)} rows hold NaN or infinity in fp32, the first is row {bad[0]}"
        )
    return array


def all_the_same(vectors: Float[np.ndarray, "n d"]) -> bool:
    """Whether rows differ by rounding alone, so that which of them is nearest says nothing."""
    spread = vectors.max(axis=0) - vectors.min(axis=0)
    return bool((spread <= ROUNDING * np.abs(vectors).max(axis=0)).all())


def checked(vectors: Float[np.ndarray, "n d"], k: int, distance: str) -> Float32[np.ndarray, "n d"]:
    """The vectors as fp32, when k and distance suit them.

    Raises:
        ValueError: naming what arrived; see `search.neighbours`.
    """
    if distance not in DISTANCES:
        raise ValueError(f"unknown distance {distance!r}; known are {', '.join(DISTANCES)}")
    points = as_vectors(vectors)
    if len(points) < 2:
        raise ValueError(f"neighbours need at least 2 vectors, got n={len(points)} (k={k})")
    if not 1 <= k < len(points):
        raise ValueError(f"k must lie in 1..n-1, got k={k} with n={len(points)}")
    return points


@dataclass(frozen=True)
class Space:
    """The vectors, and how to see them where the chosen distance is a squared Euclidean one.

    In float64 `y = x / norms / divisor`; in fp32 `z = y - centre`, which has the same distances and smaller
    rounding errors. Where that gains little, under `l2`, the centre is None and `z` is `x` itself.
    """

    vectors: Float32[np.ndarray, "n d"]
    centre: Float64[np.ndarray, " d"] | None
    divisor: Float64[np.ndarray, " s"]
    norms: Float64[np.ndarray, " n"] | None = None

    @classmethod
    def of(cls, vectors: Float32[np.ndarray, "n d"], distance: str) -> Space:
        """The space of a distance, with the gallery's own statistics."""
        if distance == "cosine":
            parts = cls(vectors, None, np.ones(1)).parts()
            squares = [sum_by_halves(np.square(vectors[part].astype(np.float64))) for part in parts]
            norms = np.sqrt(np.concatenate(squares))
            mean, _ = cls(vectors, None, np.ones(1), norms).moments()
            return cls(vectors, mean, np.ones(1), norms)
        largest = np.maximum(vectors.max(0), -vectors.min(0)).astype(np.float64)
        mean, deviation = cls(vectors, None, np.ones(1)).moments()
        if distance == "l2_standardized":
            divisor = np.where(deviation > 2 * ULP * largest, deviation, np.inf)
            return cls(vectors, mean / divisor, divisor)
        divisor = power_of_two(largest.max())
        plain = divisor.item() == 1 and np.linalg.norm(mean) <= np.linalg.norm(deviation)
        return cls(vectors, None if plain else mean / divisor, divisor)

    def exact(self, rows: slice | Int[np.ndarray, " m"]) -> Float64[np.ndarray, "m d2"]:
        """`y` of some rows; under cosine with zero vectors, one more coordinate sets those apart."""
        chosen = self.vectors[rows] if isinstance(rows, slice) else np.take(self.vectors, rows, axis=0)
        y = chosen.astype(np.float64)
        if self.norms is None:
            return y if self.plain else np.divide(y, self.divisor, out=y)
        norms = self.norms[rows, None]
        np.divide(y, norms, out=y, where=norms > 0)
        return y if self.norms.all() else np.column_stack([y, norms == 0])

    def coarse(self, rows: slice | Int[np.ndarray, " m"]) -> Float32[np.ndarray, "m d2"]:
        """`z` of some rows; no copy where it is `x`."""
        if self.centre is None:
            return self.vectors[rows]
        if self.plain:
            return self.vectors[rows] - self.centre.astype(np.float32)
        return self.centred(rows).astype(np.float32)

    def centred(self, rows: slice | Int[np.ndarray, " m"]) -> Float64[np.ndarray, "m d2"]:
        """`y` of some rows less the centre."""
        y = self.exact(rows)
        if self.centre is not None:
            y[:, : len(self.centre)] -= self.centre
        return y

    def parts(self, rows: int | None = None) -> list[slice]:
        """All rows in blocks of so many; by default, of so many as fit the cache in float64."""
        n, d = self.vectors.shape
        step = rows or max(1, _CHUNK // d)
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    @property
    def plain(self) -> bool:
        """Whether `y` is `x` itself, so that differences need no more than fp32 vectors."""
        return self.norms is None and self.divisor.tolist() == [1.0]

    def distances(self, a: Int[np.ndarray, " m"], b: Int[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
        """Squared distances of pairs of rows from their differences in float64."""
        out = np.empty(len(a))
        step = max(1, _CHUNK // self.vectors.shape[1])
        for start in range(0, len(a), step):
            part = slice(start, start + step)
            gap = self.exact(a[part])
            gap -= self.exact(b[part])
            out[part] = sum_by_halves(np.square(gap, out=gap))
        return out

    def moments(self) -> tuple[Float64[np.ndarray, " d"], Float64[np.ndarray, " d"]]:
        """Mean and population standard deviation of every coordinate of `y`, in float64 and two passes."""
        n, d = self.vectors.shape
        parts = self.parts()
        mean = sum((self.exact(part)[:, :d].sum(0) for part in parts), np.zeros(d)) / n
        squares = sum((np.square(self.exact(part)[:, :d] - mean).sum(0) for part in parts), np.zeros(d))
        return mean, np.sqrt(squares / n)


@dataclass(frozen=True)
class RoundingBounds:
    """What the bounds need to know of every vector; `likely` and `worst` are those of its product with a vector
    of length 1, in units u. Numpy arrays, or torch tensors on one device."""

    half_square: Float32[Any, " n"]
    length: Float64[Any, " n"]
    likely: Float64[Any, " n"]
    worst: Float64[Any, " n"]
    underflow: float

    @classmethod
    def of(cls, space: Space) -> RoundingBounds:
        """Measured in float64, block by block."""
        energies = np.concatenate([_energies(space.coarse(part)) for part in space.parts()])
        return cls.of_energies(energies, space.vectors.shape[1])

    @classmethod
    def of_energies(cls, energies: Float64[np.ndarray, "n runs"], dimensions: int) -> RoundingBounds:
        """From the sums of squares in every run of every vector."""
        squares = energies.sum(axis=1)
        run, runs = min(RUN, dimensions + 1), energies.shape[1]
        likely = DEVIATIONS * np.sqrt(run * energies.max(axis=1) + runs * squares)
        worst = (run + runs) * np.sqrt(squares)
        return cls((squares / 2).astype(np.float32), np.sqrt(squares), likely, worst, dimensions * UNDERFLOW)

    def error(self, rows: Any, within: Float64[Any, " q"], *, worst: bool = False) -> Float64[Any, " q"]:
        """Bound on the error of fp32 squared distances of `rows` to whatever lies `within` a squared distance.

        Beside the product, lengths, sums and the fp32 vectors themselves are rounded: five units at most.
        """
        own = self.length[rows]
        partner = 1.01 * (own + within.clip(0) ** 0.5).clip(max=self.length.max())
        product = 2 * (self.worst if worst else self.likely)[rows] * partner
        return ULP * (product + 5 * (own + partner) ** 2) + self.underflow


def _energies(vectors: Float32[np.ndarray, "m d"]) -> Float64[np.ndarray, "m runs"]:
    runs = [vectors[:, start : start + RUN].astype(np.float64) for start in range(0, vectors.shape[1], RUN)]
    return np.stack([np.einsum("ij,ij->i", run, run) for run in runs], axis=1)


def power_of_two(largest: float) -> Float64[np.ndarray, " one"]:
    """Divisor that keeps fp32 squares finite; a power of two changes no digit, and 1 saves the division."""
    ordinary = largest == 0 or 1e-9 < largest < 1e9
    return np.ones(1) if ordinary else np.exp2(np.floor(np.log2([largest])))
