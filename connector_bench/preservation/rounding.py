"""How far rounding can take an fp32 squared distance from the true one.

Squared distances come from `|a|^2 + |b|^2 - 2 a.b`, with the product summed over runs of 256 dimensions, and
then over the runs: that costs no time, and errors grow with the length of a run instead of the dimension.

Each rounding changes an intermediate value by at most u = 2^-24 of it. Inside run r such values are at most
`|a_r| |b_r|`, among the sums of runs `|a| |b|` (Cauchy and Schwarz), in whatever order a library adds. So the
product is off by u times their sum at worst. Roundings that do not conspire keep it below `8 u` times the
root of the sum of their squares, but for a probability of 3e-14 (Azuma's inequality; Ipsen and Zhou, SIAM J.
Matrix Anal. Appl. 41 (2020) 1726). Errors of ordinary embeddings stay below an eighth of that; vectors
whose dimensions are all equal can exceed it, which `exact.rank` notices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int

from connector_bench.preservation.space import ULP, Space

RUN = 256
"""Dimensions summed at a stretch."""

_DEVIATIONS = 8
_UNDERFLOW = 2.0**-120

Rows = slice | Int[np.ndarray, " q"]


@dataclass(frozen=True)
class Lengths:
    """What the bounds need to know of every vector; `likely` and `worst` are those of its product with a vector
    of length 1, in units u."""

    half_square: Float32[np.ndarray, " n"]
    length: Float64[np.ndarray, " n"]
    likely: Float64[np.ndarray, " n"]
    worst: Float64[np.ndarray, " n"]
    underflow: float

    @classmethod
    def of(cls, space: Space) -> Lengths:
        """Measured in float64, block by block."""
        energies = np.concatenate([_energies(space.coarse(part)) for part in space.parts()])
        squares = energies.sum(axis=1)
        run, runs = min(RUN, space.vectors.shape[1] + 1), energies.shape[1]
        likely = _DEVIATIONS * np.sqrt(run * energies.max(axis=1) + runs * squares)
        worst = (run + runs) * np.sqrt(squares)
        underflow = space.vectors.shape[1] * _UNDERFLOW
        return cls((squares / 2).astype(np.float32), np.sqrt(squares), likely, worst, underflow)

    def error(
        self, rows: Rows, within: Float64[np.ndarray, " q"], *, worst: bool = False
    ) -> Float64[np.ndarray, " q"]:
        """Bound on the error of fp32 squared distances of `rows` to whatever lies `within` a squared distance.

        Beside the product, lengths, sums and the fp32 vectors themselves are rounded: five units at most.
        """
        own = self.length[rows]
        partner = 1.01 * np.minimum(own + np.sqrt(np.maximum(within, 0)), self.length.max())
        product = 2 * (self.worst if worst else self.likely)[rows] * partner
        return ULP * (product + 5 * (own + partner) ** 2) + self.underflow


def _energies(vectors: Float32[np.ndarray, "m d"]) -> Float64[np.ndarray, "m runs"]:
    runs = [vectors[:, start : start + RUN].astype(np.float64) for start in range(0, vectors.shape[1], RUN)]
    return np.stack([np.einsum("ij,ij->i", run, run) for run in runs], axis=1)
