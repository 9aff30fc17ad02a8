"""Means and scatter matrices of token pairs in one pass, held in float64, that add up across processes.

`Moments(a) + Moments(b)` are the moments of both samples together (Chan, Golub, LeVeque 1983), so memory
depends on the two widths only: for 4096 -> 1024, 168 MB however many images pass. Scatter is about the
running mean, never a raw sum of squares: encoders have dimensions with a mean 1,000 times their standard
deviation, where raw sums cancel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.precision import float64_is_fast, full_precision


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
        """The moments of both samples, on one device; ValueError where the widths differ."""
        if self.xy.shape != other.xy.shape:
            raise ValueError(f"moments of {tuple(self.xy.shape)} and {tuple(other.xy.shape)} do not add up")
        if self.n == 0 or other.n == 0:
            return self if other.n == 0 else other
        n = self.n + other.n
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

    def copy(self) -> Moments:
        """The same in memory of its own."""
        parts = (self.mean_x, self.mean_y, self.xx, self.xy, self.yy)
        return Moments(self.n, *(part.clone() for part in parts))

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """The parts under `prefix.`, on the CPU, for safetensors; the inverse of `from_tensors`."""
        parts = {name: getattr(self, name).cpu() for name in ("mean_x", "mean_y", "xx", "xy", "yy")}
        parts["n"] = torch.tensor(self.n)
        return {f"{prefix}.{name}": part for name, part in parts.items()}

    @classmethod
    def from_tensors(cls, prefix: str, tensors: Mapping[str, Tensor]) -> Moments:
        """Read back what `tensors` wrote."""
        parts = {name: tensors[f"{prefix}.{name}"] for name in ("mean_x", "mean_y", "xx", "xy", "yy")}
        return cls(int(tensors[f"{prefix}.n"]), **parts)


ROUNDING = 1e-6
"""Share of a number below which a difference is one of float32's rounding."""

Sums = Literal["auto", "float64", "float32"]
"""How scatter is summed; `auto` is float64 where the device is fast at it, and float32 elsewhere."""

CHUNK_ROWS, CHUNK_ROWS_ON_CUDA = 2048, 8192
"""Rows that are multiplied together: on CUDA more, since its products are faster the larger they are."""
RUN_ROWS = 1024
"""Rows whose products are summed in float32 before they are added in float64."""


class MomentsStream:
    """Collects rows and adds them to the moments a chunk at a time, on the device of the rows.

    Chunks have the same number of rows however the rows arrive, and asking for the value changes none of them: the
    bits depend on the rows and their order alone. Of the symmetric `xx` only blocks on and above the diagonal are
    kept up: 0.6 of the full product's time.

    With `sums="float64"` everything is float64. With `"float32"` rows are centred in float64 about their chunk's
    mean, and products of what is left are summed in fp32 over runs of 1,024 rows, and beyond in float64: an entry's
    error is below `1,024 * 2^-24` of the product of the two deviations, and in practice below `1e-6` (`1e-5` where
    half precision leaves a dimension few values), whatever the means and the other dimensions.
    """

    def __init__(self, d: int, m: int, chunk_rows: int | None = None, sums: Sums = "auto") -> None:
        self._chunk_rows, self._how = chunk_rows, sums
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._waiting_rows = 0
        self._sums = Moments.zeros(d, m)

    @property
    def n(self) -> int:
        """Rows so far."""
        return self._sums.n + self._waiting_rows

    def add(self, x: Float[Tensor, "n d"], y: Float[Tensor, "n m"]) -> None:
        """Take rows, of any precision; they are not to be changed afterwards.

        NaN or infinity in them is found when the value is asked for, so that nobody waits for the device here.
        """
        chunk = self._chunk_rows or (CHUNK_ROWS_ON_CUDA if x.is_cuda else CHUNK_ROWS)
        if self._waiting and self._waiting[0][0].device != x.device:
            self._waiting = [(a.to(x.device), b.to(x.device)) for a, b in self._waiting]
        first = 0
        while first < len(x):
            last = min(len(x), first + max(chunk - self._waiting_rows, 0))
            # the end of a larger block would keep all of it in memory
            self._wait(*((part[first:last].clone() if first else part[:last]) for part in (x, y)))
            first = last
            if self._waiting_rows >= chunk:
                self._sums = self._with_waiting(self._sums)
                self._waiting, self._waiting_rows = [], 0

    def _wait(self, x: Float[Tensor, "n d"], y: Float[Tensor, "n m"]) -> None:
        self._waiting.append((x, y))
        self._waiting_rows += len(x)

    def absorb(self, moments: Moments) -> None:
        """Add a finished sample, such as another process's; it goes to this one's device."""
        self._sums = self._sums + (moments.to(self._sums.xx.device) if self._sums.n else moments.copy())

    def value(self) -> Moments:
        """The moments so far, on the device of the rows; ValueError where one of them held NaN or infinity."""
        sums = self._sums if not self._waiting else self._with_waiting(self._sums.copy())
        if not (torch.isfinite(sums.mean_x).all() & torch.isfinite(sums.mean_y).all()):
            raise ValueError("tokens hold NaN or infinity: one such row would spoil every sum")
        own = sums.copy() if sums is self._sums else sums
        return replace(own, xx=own.xx.triu_().add_(own.xx.triu(1).T))

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """The state under `prefix.`, on the CPU: moments of full chunks, and rows that wait for theirs to be full."""
        stored = self._sums.tensors(prefix)
        if self._waiting:
            x, y = (torch.cat(side).cpu() for side in zip(*self._waiting, strict=True))
            stored |= {f"{prefix}.waiting_x": x, f"{prefix}.waiting_y": y}
        return stored

    def load(self, prefix: str, tensors: Mapping[str, Tensor]) -> None:
        """Take in what `tensors` wrote; an empty stream then goes on as the one that wrote it, to the bit."""
        self.absorb(Moments.from_tensors(prefix, tensors))
        if f"{prefix}.waiting_x" in tensors:
            self._wait(tensors[f"{prefix}.waiting_x"], tensors[f"{prefix}.waiting_y"])

    def _with_waiting(self, sums: Moments) -> Moments:
        """The moments with the waiting rows added, in place."""
        x = torch.cat([pair[0] for pair in self._waiting])
        y = torch.cat([pair[1] for pair in self._waiting])
        sums = sums.to(x.device)
        exact = float64_is_fast(x.device) if self._how == "auto" else self._how == "float64"
        return _add_rows(sums, x, y) if exact else _add_runs(sums, x, y)


def _add_rows(sums: Moments, x: Float[Tensor, "n d"], y: Float[Tensor, "n m"]) -> Moments:
    """Add rows in float64, in place; `x` and `y` are used up."""
    x, y = x.to(torch.float64), y.to(torch.float64)
    mean_x, mean_y = x.mean(0), y.mean(0)
    x.sub_(mean_x)
    y.sub_(mean_y)
    _add_gram(sums.xx, x)
    sums.xy.addmm_(x.T, y)
    sums.yy.add_(y.square().sum(0))
    return _about_common_mean(sums, len(x), mean_x, mean_y)


def _add_runs(sums: Moments, x: Float[Tensor, "n d"], y: Float[Tensor, "n m"]) -> Moments:
    """Add rows in place: centred in float64, multiplied in fp32 over short runs, added in float64."""
    mean_x, mean_y = x.mean(0, dtype=torch.float64), y.mean(0, dtype=torch.float64)
    with full_precision(x.device):
        for first in range(0, len(x), RUN_ROWS):
            run = slice(first, first + RUN_ROWS)
            a, b = x[run] - mean_x, y[run] - mean_y
            sums.yy.add_(b.square().sum(0))
            a, b = a.float(), b.float()
            _add_gram(sums.xx, a)
            sums.xy.add_(a.T @ b)
    return _about_common_mean(sums, len(x), mean_x, mean_y)


def _about_common_mean(sums: Moments, rows: int, mean_x: Tensor, mean_y: Tensor) -> Moments:
    """After scatter of new rows about their own mean was added: make all of it that about the mean of all."""
    n = sums.n + rows
    dx, dy = mean_x - sums.mean_x, mean_y - sums.mean_y
    share, weight = rows / n, sums.n * rows / n
    return Moments(
        n,
        sums.mean_x + share * dx,
        sums.mean_y + share * dy,
        sums.xx.addr_(dx, dx, alpha=weight),
        sums.xy.addr_(dx, dy, alpha=weight),
        sums.yy + weight * dy.square(),
    )


def _add_gram(xx: Float[Tensor, "d d"], x: Float[Tensor, "n d"]) -> None:
    """Add `x' x` in place to the blocks on and above the diagonal: on CUDA few large ones."""
    d = xx.shape[0]
    width = max(1024 if x.is_cuda else 64, -(-d // 8))
    for start in range(0, d, width):
        block, left = xx[start : start + width, start:], x[:, start : start + width].T
        if x.dtype == xx.dtype:
            block.addmm_(left, x[:, start:])
        else:
            block.add_(left @ x[:, start:])


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

    def require_spread(self) -> None:
        """ValueError where all patches are the same but for rounding: then there is nothing to rebuild."""
        if bool((self.variance.sqrt() <= ROUNDING * self.mean.abs()).all()):
            raise ValueError(
                f"the encoder gives the same numbers for all {self.n:,} patches of the training images, so there is "
                "nothing to rebuild: it is the wrong module, or its input is the same for all pictures"
            )

    @property
    def total_variance(self) -> float:
        """Variance summed over dimensions: the squared error per patch of predicting the mean."""
        return float(self.variance.sum())
