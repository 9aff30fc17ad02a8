"""What is gathered of training images for the yardsticks of a connector's size, and their fit."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.cells import CellShape, cell_rows, is_placed
from connector_bench.reconstruction.config import ReconstructionConfig, target_of
from connector_bench.reconstruction.folds import Fold
from connector_bench.reconstruction.precision import fit_device, with_room
from connector_bench.reconstruction.probes.linear import LinearSample, Part, part_of
from connector_bench.reconstruction.probes.moments import MomentsStream
from connector_bench.reconstruction.probes.size_floor import (
    ONE,
    CellComponents,
    SizeFloor,
    averaging,
    numbers_a_patch,
)
from connector_bench.types import TokenBatch

WIDEST = 8192
"""Numbers of a cell up to which its covariance is kept: half a gigabyte, and a minute to decompose."""


class FloorSample:
    """Moments of the cells of training images, against nothing and against their mean patch."""

    def __init__(self, config: ReconstructionConfig) -> None:
        self.config = config
        self.images: Collection[str] | None = None
        """The images that are learnt from; None for all that come."""
        self.seen = 0
        self._by_patch = False
        self._d_post = 0
        self._numbers = self._patches = 0.0
        """That left the connector, and entered it."""
        self._cells: dict[CellShape, MomentsStream] = {}
        self._average = LinearSample(config)
        self.refused: str | None = None
        """Why there is no floor."""

    def update(self, batch: TokenBatch, folds: Sequence[Fold]) -> None:
        """Take those of some training images that are learnt from; `folds` has the fold of each."""
        if self.config.protocol == "paper" or self.refused is not None:
            return
        parts: dict[Part, list[int]] = {}
        for position, (image, fold) in enumerate(zip(batch.images, folds, strict=True)):
            if self.images is None or image in self.images:
                parts.setdefault(part_of(fold), []).append(position)
        for part, positions in parts.items():
            self._gather(part, batch.take(positions))

    def _gather(self, part: Part, batch: TokenBatch) -> None:
        pre = target_of(batch, self.config).detach()
        self._by_patch, self._d_post = not all(map(is_placed, batch.layouts)), batch.post.shape[1]
        if part == "training":
            self.seen += len(batch)
            self._numbers += sum(layout.n_post for layout in batch.layouts) * self._d_post
            self._patches += sum(layout.n_pre for layout in batch.layouts)
            self._add_cells(pre, batch)
        pooled = [averaging(layout) for layout in batch.layouts]
        if any(layout is None for layout in pooled):
            return
        known = tuple(layout for layout in pooled if layout is not None)
        for cells in cell_rows(replace(batch, layouts=known), range(len(batch))):
            if cells.shape != ONE:
                own = cells.y(pre)
                self._average.add(part, cells.shape, own.unflatten(1, (-1, pre.shape[1])).mean(1), own)

    def _add_cells(self, pre: Float[Tensor, "n d"], batch: TokenBatch) -> None:
        width = pre.shape[1]
        if self._by_patch:
            least = min(numbers_a_patch(layout, self._d_post) for layout in batch.layouts)
            if least < width:
                self._stream(ONE, width).add(pre.clone(), pre[:, :0])
            return
        for cells in cell_rows(batch, range(len(batch))):
            numbers = math.prod(cells.shape) * width
            if numbers > WIDEST:
                self.refused = f"a cell has {numbers:,} numbers, at most {WIDEST:,} are decomposed"
                self._cells = {}
                return
            if numbers > self._d_post:
                own = cells.y(pre)
                self._stream(cells.shape, numbers).add(own, own[:, :0])

    def _stream(self, shape: CellShape, width: int) -> MomentsStream:
        if shape not in self._cells:
            self._cells[shape] = MomentsStream(width, 0, self.config.chunk_rows, self.config.sums)
        return self._cells[shape]

    def absorb(self, other: FloorSample) -> None:
        """Add another process's state."""
        self.seen += other.seen
        self._numbers, self._patches = self._numbers + other._numbers, self._patches + other._patches
        self._by_patch, self._d_post = self._by_patch or other._by_patch, self._d_post or other._d_post
        self.refused = self.refused or other.refused
        for shape, stream in other._cells.items():
            moments = stream.value()
            self._stream(shape, len(moments.mean_x)).absorb(moments)
        self._average.absorb(other._average)

    def tensors(self) -> dict[str, Tensor]:
        """Everything gathered, under `floor.`."""
        counts = [self.seen, self._by_patch, self._d_post, self._numbers, self._patches]
        stored = {"floor.counts": torch.tensor(counts, dtype=torch.float64)}
        for (rows, columns), stream in self._cells.items():
            stored |= stream.tensors(f"floor.cells.{rows}x{columns}")
        return stored | self._average.tensors("floor.average")

    def load(self, tensors: Mapping[str, Tensor], refused: str | None) -> None:
        """Take in what `tensors` wrote; nothing where an older version wrote the state."""
        self.refused = refused
        if "floor.counts" not in tensors:
            return
        seen, by_patch, d_post, self._numbers, self._patches = tensors["floor.counts"].tolist()
        self.seen, self._by_patch, self._d_post = int(seen), bool(by_patch), int(d_post)
        for name in sorted(tensors):
            if name.startswith("floor.cells.") and name.endswith(".mean_x"):
                shape = name.split(".")[2]
                rows, columns = map(int, shape.split("x"))
                self._stream((rows, columns), len(tensors[name])).load(f"floor.cells.{shape}", tensors)
        self._average.load("floor.average", tensors)

    def fit(self, mean: Float[Tensor, " d"], device: torch.device, troubles: list[str]) -> SizeFloor | None:
        """Decompose and fit; `mean` is the mean training patch. None where there is nothing to fit, or a cell is too
        large."""
        if self.refused is not None or not self.seen:
            return None
        where = fit_device(self.config.device, device)
        bottlenecks: dict[CellShape, CellComponents] = {}
        lost = total = 0.0
        for shape, stream in self._cells.items():
            kept = self._numbers / self._patches if self._by_patch else self._d_post

            def decomposed(on: torch.device, stream: MomentsStream = stream, kept: float = kept) -> Any:
                moments = stream.value().to(on)
                values, directions = torch.linalg.eigh(moments.xx)
                values, directions = values.clamp(min=0).flip(0), directions.flip(1)
                left = 1 - (kept - torch.arange(len(values), device=on)).clamp(0, 1)
                held = directions if self._by_patch else directions[:, : int(kept)]
                one = CellComponents(moments.mean_x, held.contiguous()).to(torch.device("cpu"))
                slots = len(values) // len(mean)
                about = moments.mean_x - mean.to(on).repeat(slots)
                return (
                    one,
                    float((values * left).sum()),
                    float(values.sum() + moments.n * about.square().sum()),
                )

            one, tail, spread = with_room("the linear bottleneck", decomposed, where, troubles)
            bottlenecks[shape] = one
            lost, total = lost + tail, total + spread
        average = with_room("average pooling", self._average.fit, where, troubles)
        closed = None if total <= 0 else lost / total
        whole = (
            len(bottlenecks) <= 1
        )  # of several shapes those that a token holds whole are not among the moments
        return SizeFloor(
            self.config,
            mean.cpu(),
            self._by_patch,
            bottlenecks,
            average,
            closed if whole else None,
            self.seen,
        )
