"""Means and scatter matrices of token pairs in one pass, in float64, that add up across processes.

`Moments(a) + Moments(b)` are the moments of both samples together (Chan, Golub, LeVeque 1983), so memory
depends on the two widths only: for 4096 -> 1024, 168 MB however many images pass. Scatter is about the
running mean, never a raw sum of squares: encoders have dimensions with a mean 1,000 times their standard
deviation, where raw sums cancel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Moments:
    """Sufficient statistics of the linear regression of `y` on `x`, all float64."""

    n: int
    mean_x: Float[Tensor, " d"]
    mean_y: Float[Tensor, " m"]
    xx: Float[Tensor, "d d"]
    """Sum over rows of (x - mean)(x - mean)'."""
    xy: Float[Tensor, "d m"]
    """Sum over rows of (x - mean)(y - mean)'."""
    yy: Float[Tensor, " m"]
    """Diagonal of the sum over rows of (y - mean)(y - mean)'."""

    @classmethod
    def zeros(cls, d: int, m: int) -> Moments:
        """The moments of no rows: the neutral element of `+`."""
        double = torch.float64
        return cls(
            0,
            torch.zeros(d, dtype=double),
            torch.zeros(m, dtype=double),
            torch.zeros(d, d, dtype=double),
            torch.zeros(d, m, dtype=double),
            torch.zeros(m, dtype=double),
        )

    @classmethod
    def of(cls, x: Float[Tensor, "n d"], y: Float[Tensor, "n m"]) -> Moments:
        """The moments of these rows."""
        stream = MomentsStream(x.shape[1], y.shape[1])
        stream.add(x, y)
        return stream.value()

    def __add__(self, other: Moments) -> Moments:
        """The moments of both samples; ValueError where the widths differ."""
        if self.xy.shape != other.xy.shape:
            raise ValueError(f"moments of {tuple(self.xy.shape)} and {tuple(other.xy.shape)} do not add up")
        n = self.n + other.n
        if n == 0:
            return self
        dx, dy = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        share, weight = other.n / n, self.n * other.n / n
        return Moments(
            n,
            self.mean_x + share * dx,
            self.mean_y + share * dy,
            (self.xx + other.xx).addr_(dx, dx, alpha=weight),
            (self.xy + other.xy).addr_(dx, dy, alpha=weight),
            self.yy + other.yy + weight * dy.square(),
        )

    def to(self, device: torch.device) -> Moments:
        """The same on a device."""
        parts = (self.mean_x, self.mean_y, self.xx, self.xy, self.yy)
        return Moments(self.n, *(part.to(device) for part in parts))

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """The parts under `prefix.`, for safetensors; the inverse of `from_tensors`."""
        parts = {name: getattr(self, name) for name in ("mean_x", "mean_y", "xx", "xy", "yy")}
        parts["n"] = torch.tensor(self.n)
        return {f"{prefix}.{name}": part for name, part in parts.items()}

    @classmethod
    def from_tensors(cls, prefix: str, tensors: Mapping[str, Tensor]) -> Moments:
        """Read back what `tensors` wrote."""
        parts = {name: tensors[f"{prefix}.{name}"] for name in ("mean_x", "mean_y", "xx", "xy", "yy")}
        return cls(int(tensors[f"{prefix}.n"]), **parts)


class MomentsStream:
    """Collects rows and adds them to the moments a chunk at a time, in float64.

    Of the symmetric `xx` only blocks on and above the diagonal are kept up: 0.6 of the full product's time.
    """

    def __init__(self, d: int, m: int, chunk_rows: int = 2048, device: str = "cpu") -> None:
        self._chunk_rows = chunk_rows
        self._device = device
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._waiting_rows = 0
        self._sums = _to(Moments.zeros(d, m), device)

    def add(self, x: Float[Tensor, "n d"], y: Float[Tensor, "n m"]) -> None:
        """Take rows; ValueError where they hold NaN or infinity."""
        if not (torch.isfinite(x).all() and torch.isfinite(y).all()):
            raise ValueError("tokens hold NaN or infinity: one such row would spoil every sum")
        self._waiting.append((x, y))
        self._waiting_rows += x.shape[0]
        if self._waiting_rows >= self._chunk_rows:
            self._flush()

    def absorb(self, moments: Moments) -> None:
        """Add a finished sample, such as another process's."""
        self._flush()
        self._sums = self._sums + _to(moments, self._device)

    @property
    def n(self) -> int:
        """Rows so far."""
        return self._sums.n + self._waiting_rows

    def value(self) -> Moments:
        """The moments so far, on the CPU."""
        self._flush()
        sums = _to(self._sums, "cpu")
        return replace(sums, xx=sums.xx.triu() + sums.xx.triu(1).T)

    def _flush(self) -> None:
        if not self._waiting_rows:
            return
        x = torch.cat([pair[0] for pair in self._waiting]).to(self._device, torch.float64)
        y = torch.cat([pair[1] for pair in self._waiting]).to(self._device, torch.float64)
        self._waiting, self._waiting_rows = [], 0
        sums, rows = self._sums, x.shape[0]
        n = sums.n + rows
        mean_x, mean_y = x.mean(0), y.mean(0)
        x, y = x - mean_x, y - mean_y
        dx, dy = mean_x - sums.mean_x, mean_y - sums.mean_y
        weight = sums.n * rows / n
        self._sums = Moments(
            n,
            sums.mean_x + rows / n * dx,
            sums.mean_y + rows / n * dy,
            _add_gram(sums.xx, x).addr_(dx, dx, alpha=weight),
            sums.xy.addmm_(x.T, y).addr_(dx, dy, alpha=weight),
            sums.yy + y.square().sum(0) + weight * dy.square(),
        )


def _add_gram(xx: Float[Tensor, "d d"], x: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """Add `x' x` in place to the blocks on and above the diagonal."""
    d = xx.shape[0]
    width = max(64, -(-d // 8))
    for start in range(0, d, width):
        xx[start : start + width, start:].addmm_(x[:, start : start + width].T, x[:, start:])
    return xx


def _to(moments: Moments, device: str) -> Moments:
    """The moments on a device; a copy, since the stream adds in place."""
    parts = (moments.mean_x, moments.mean_y, moments.xx, moments.xy, moments.yy)
    return Moments(moments.n, *(part.detach().to(device, copy=True) for part in parts))


@dataclass(frozen=True, eq=False)
class TargetStatistics:
    """Mean and variance of the encoder's patches over *training* images: what every R2 is about."""

    n: int
    mean: Float[Tensor, " d"]
    scatter: Float[Tensor, " d"]
    """Sum over patches of (y - mean)^2, by dimension."""

    @classmethod
    def of(cls, y: Float[Tensor, "n d"]) -> TargetStatistics:
        """The statistics of these patches."""
        y = y.to(torch.float64)
        mean = y.mean(0)
        return cls(y.shape[0], mean, (y - mean).square().sum(0))

    def __add__(self, other: TargetStatistics) -> TargetStatistics:
        """The statistics of both samples together."""
        n = self.n + other.n
        if n == 0:
            return self
        step = other.mean - self.mean
        scatter = self.scatter + other.scatter + self.n * other.n / n * step.square()
        return TargetStatistics(n, self.mean + other.n / n * step, scatter)

    @property
    def variance(self) -> Float[Tensor, " d"]:
        """Population variance by dimension."""
        return self.scatter / max(self.n, 1)

    @property
    def total_variance(self) -> float:
        """Variance summed over dimensions: the squared error per patch of predicting the mean."""
        return float(self.variance.sum())
