"""`Space` on a torch device: the vectors as fp32, everything else computed there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Float64, Int

from connector_bench.preservation.neighbours.space import (
    RUN,
    ULP,
    RoundingBounds,
    power_of_two,
    sum_by_halves,
)

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = object

_CPU_ELEMENTS, _GPU_ELEMENTS = 2**22, 2**28
_BYTES = 64  # of free memory for an element of a block: some copies of it in float64, and as much left


@dataclass(frozen=True, eq=False)
class DeviceSpace:
    """The fields of `space.Space` as tensors, and fp32 `z` of all vectors.

    Norms and distances are the same bits as `Space` finds; sums over all vectors, which set the centre and the
    deviations, may differ in the last one.
    """

    vectors: Float32[Tensor, "n d"]
    centre: Float64[Tensor, " d"] | None
    divisor: Float64[Tensor, " s"]
    norms: Float64[Tensor, " n"] | None
    plain: bool
    """Whether `y` is `x` itself."""
    apart: bool
    """Whether one more coordinate sets zero vectors apart."""

    @classmethod
    def of(cls, vectors: Float32[np.ndarray, "n d"], distance: str, device: str) -> DeviceSpace:
        """The space of a distance, with the gallery's own statistics."""
        import torch

        points = torch.from_numpy(vectors).to(device)
        one = torch.ones(1, dtype=torch.float64, device=device)
        itself = cls(points, None, one, None, True, False)
        if distance == "cosine":
            squares = [sum_by_halves(itself.exact(part).square_()) for part in itself.parts()]
            lengths = np.sqrt(torch.cat(squares).cpu().numpy())  # torch's own root may be off by the last bit
            norms = torch.from_numpy(lengths).to(device)
            turned = replace(itself, norms=norms, plain=False, apart=not bool(norms.all()))
            return replace(turned, centre=turned.moments()[0])
        largest = torch.maximum(points.amax(0), -points.amin(0)).double()
        mean, deviation = itself.moments()
        if distance == "l2_standardized":
            divisor = torch.where(deviation > 2 * ULP * largest, deviation, torch.inf)
            return replace(itself, centre=mean / divisor, divisor=divisor, plain=False)
        divisor = torch.from_numpy(power_of_two(float(largest.max()))).to(device)
        plain = divisor.item() == 1
        if plain and bool(mean.norm() <= deviation.norm()):
            return itself
        return replace(itself, centre=mean / divisor, divisor=divisor, plain=plain)

    @property
    def elements(self) -> int:
        """Numbers of a block that the device's memory allows."""
        import torch

        if self.vectors.device.type != "cuda":
            return _CPU_ELEMENTS
        free, _ = torch.cuda.mem_get_info(self.vectors.device)
        return int(np.clip(free // _BYTES, 2**16, _GPU_ELEMENTS))

    def parts(self) -> list[slice]:
        """All rows in blocks whose size depends on their width alone."""
        n, d = self.vectors.shape
        step = max(1, _CPU_ELEMENTS // d)
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    def exact(self, rows: slice | Int[Tensor, "*shape"]) -> Float64[Tensor, "*shape d2"]:
        """`y` of some rows, in the shape of their numbers."""
        import torch

        y = self.vectors[rows].double()
        if self.norms is None:
            return y if self.plain else y.div_(self.divisor)
        norms = self.norms[rows].unsqueeze(-1)
        y.div_(torch.where(norms > 0, norms, 1.0))
        return torch.cat([y, (norms == 0).double()], -1) if self.apart else y

    def centred(self, rows: slice | Int[Tensor, " m"]) -> Float64[Tensor, "m d2"]:
        """`y` of some rows less the centre."""
        y = self.exact(rows)
        if self.centre is not None:
            y[:, : len(self.centre)] -= self.centre
        return y

    def coarse(self) -> Float32[Tensor, "n d2"]:
        """`z` of all vectors; no copy where it is `x`."""
        import torch

        if self.centre is None:
            return self.vectors
        if self.plain:
            return self.vectors - self.centre.float()
        return torch.cat([self.centred(part).float() for part in self.parts()])

    def moments(self) -> tuple[Float64[Tensor, " d"], Float64[Tensor, " d"]]:
        """Mean and population standard deviation of every coordinate of `y`, in float64 and two passes."""
        import torch

        n, d = self.vectors.shape
        mean, squares = torch.zeros((2, d), dtype=torch.float64, device=self.vectors.device)
        for part in self.parts():
            mean += self.exact(part)[:, :d].sum(0)
        mean /= n
        for part in self.parts():
            squares += (self.exact(part)[:, :d] - mean).square_().sum(0)
        return mean, (squares / n).sqrt_()

    def distances(
        self, rows: Int[Tensor, " q"], others: Int[Tensor, "q c"], elements: int
    ) -> Float64[Tensor, "q c"]:
        """Squared distances of each row to its `others`, from differences in float64, so many elements at a time."""
        import torch

        step = max(1, elements // (others.shape[1] * (self.vectors.shape[1] + 1)))
        found = []
        for mine, index in zip(rows.split(step), others.split(step), strict=True):
            gap = self.exact(index)
            gap -= self.exact(mine).unsqueeze(1)
            found.append(sum_by_halves(gap.square_()))
        return torch.cat(found)


def bounds_of(z: Float32[Tensor, "n d2"], space: DeviceSpace) -> RoundingBounds:
    """`RoundingBounds` of fp32 vectors, on their device."""
    import torch

    runs = [
        torch.cat([run.double().square_().sum(1) for run in z[:, start : start + RUN].split(2**14)])
        for start in range(0, z.shape[1], RUN)
    ]
    energies: Float64[np.ndarray, "n runs"] = torch.stack(runs, 1).cpu().numpy()
    found = RoundingBounds.of_energies(energies, space.vectors.shape[1])
    moved: dict[str, Any] = {
        name: torch.from_numpy(getattr(found, name)).to(z.device)
        for name in ("half_square", "length", "likely", "worst")
    }
    return replace(found, **moved)
