"""Mean, spread and directions of a connector's tokens over the data."""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.probes.moments import Moments


class TokenStatistics:
    """Of all tokens of some pictures, float64; of several processes they add up.

    `directions` costs a matrix of the tokens' width squared, so it is asked for beforehand.
    """

    def __init__(self, width: int, *, directions: bool) -> None:
        self._directions = directions
        self.pictures = 0
        self._moments = Moments.zeros(width if directions else 0, width)

    def add(self, tokens: Float[Tensor, "n d"]) -> None:
        """Take in one picture's tokens."""
        own = tokens.detach().cpu().double()
        self._moments = self._moments + Moments.of(own if self._directions else own[:, :0], own)
        self.pictures += 1

    def absorb(self, other: TokenStatistics) -> None:
        """Take in those of another process."""
        self._moments = self._moments + other._moments
        self.pictures += other.pictures

    @property
    def mean(self) -> Float[Tensor, " d"]:
        """The mean token."""
        return self._moments.mean_y

    @property
    def spread(self) -> float:
        """Root mean square distance of a token from the mean, over the root of its width."""
        return float((self._moments.yy.sum() / max(self._moments.n * len(self._moments.yy), 1)).sqrt())

    @cached_property
    def _vectors(self) -> Float[Tensor, "d d"]:
        return torch.linalg.eigh(self._moments.xx).eigenvectors.flip(1)

    def directions_behind(self, rank: int) -> Float[Tensor, "d k"]:
        """All but the first `rank` principal directions; none where there are no more."""
        return self._vectors[:, rank:]
