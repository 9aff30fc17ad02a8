"""What a connector of its size must lose: the best linear map of each cell to as many numbers, and average pooling.

A token of `d_post` numbers that stands for a cell cannot hand on more of it, by a linear map, than the `d_post` widest
principal components of that cell hold. Where tokens have no place, an image's `n_post x d_post` numbers are spread
evenly over its patches, each of which is then a cell of its own. Beside it stands the mean patch of a cell with a
ridge behind it: as many tokens, and nothing learnt.

Directions and maps come from the training images that controls learn from; both are tested on the images that the
connector's own probes are tested on, so that a difference of losses is paired image by image.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.cells import Cells, CellShape, cell_rows, is_placed, on_device
from connector_bench.reconstruction.config import ReconstructionConfig, target_of
from connector_bench.reconstruction.end_to_end import cells_of_all, rebuilt, sums_by_image
from connector_bench.reconstruction.folds import Fold
from connector_bench.reconstruction.precision import fit_device, with_room
from connector_bench.reconstruction.probes.linear import LinearProbe, LinearSample, Part, part_of
from connector_bench.reconstruction.probes.moments import MomentsStream
from connector_bench.types import TokenBatch, TokenLayout

ONE: CellShape = (1, 1)
WIDEST = 8192
"""Numbers of a cell up to which its covariance is kept: half a gigabyte, and a minute to decompose."""
OF_SIZE = ("floor", "average")
"""Sums of an image that come from here: squared error of the linear bottleneck, and of average pooling."""


def numbers_a_patch(layout: TokenLayout, d_post: int) -> float:
    """How many numbers leave the connector for each patch of an image."""
    return layout.n_post * d_post / max(layout.n_pre, 1)


@lru_cache(maxsize=512)
def averaging(layout: TokenLayout) -> TokenLayout | None:
    """The same picture with at most as many tokens, each of which stands for a cell; None where patches lie nowhere.

    Where tokens have no place, they are shared out evenly among the tiles and laid out in the most square grid.
    """
    if layout.unplaced:
        return None
    if is_placed(layout):
        return layout
    share = max(1, layout.n_post // len(layout.tiles))
    tiles = []
    for tile in layout.tiles:
        rows = min(tile.pre_grid[0], math.isqrt(share))
        tiles.append(replace(tile, post_grid=(rows, min(tile.pre_grid[1], share // rows))))
    return TokenLayout(tuple(tiles), sum(math.prod(tile.post_grid or ()) for tile in tiles))


@dataclass(frozen=True, eq=False)
class CellComponents:
    """The principal components of a cell, the widest first."""

    mean: Float[Tensor, " d"]
    directions: Float[Tensor, "d r"]
    """All of them where tokens have no place, else as many as a token has numbers."""

    def errors(self, cells: Float[Tensor, "n d"], kept: Float[Tensor, " n"] | None) -> Float[Tensor, " n"]:
        """Squared error of each cell with so many numbers `kept` of it, a fraction of a number in part."""
        centred = cells - self.mean
        energy = (centred @ self.directions).square_()
        if kept is not None:
            places = torch.arange(energy.shape[1], device=energy.device, dtype=energy.dtype)
            energy *= (kept[:, None] - places).clamp_(0, 1)
        return (centred.square().sum(1) - energy.sum(1)).clamp_(min=0)

    def to(self, device: torch.device) -> CellComponents:
        """The same on a device."""
        return CellComponents(self.mean.to(device), self.directions.to(device))


@dataclass(frozen=True, eq=False)
class SizeFloor:
    """Both yardsticks, fitted."""

    config: ReconstructionConfig
    mean: Float[Tensor, " d_pre"]
    """Mean training patch, which stands for a cell that no training image had."""
    by_patch: bool
    """Whether tokens have no place, so that every patch has a share of the image's numbers."""
    bottlenecks: Mapping[CellShape, CellComponents]
    """Of cells that have more numbers than a token."""
    average: LinearProbe
    closed_form: float | None
    """What the bottleneck loses by the eigenvalues of the training cells' covariance alone."""
    training_images: int

    @torch.no_grad()
    def squared_errors(self, batch: TokenBatch) -> dict[str, Float[Tensor, " images"]]:
        """Squared error over each image's patches, by `OF_SIZE`; without `average` where nobody knows their places."""
        truth, layouts = target_of(batch, self.config).double(), batch.layouts
        counts = [layout.n_pre for layout in layouts]
        errors = truth.new_zeros(len(truth))
        if self.by_patch:
            if ONE in self.bottlenecks:
                kept = [numbers_a_patch(layout, batch.post.shape[1]) for layout in layouts]
                each = on_device(np.repeat(kept, counts), truth.device)
                errors = self.bottlenecks[ONE].errors(truth, each)
        else:
            for cells in cells_of_all(layouts, truth.device):
                if cells.shape in self.bottlenecks:
                    own = self.bottlenecks[cells.shape].errors(_of(truth, cells), None)
                    errors[cells.patches[:, 0]] = own
                elif cells.patches.shape[1] * truth.shape[1] > batch.post.shape[1]:
                    unseen = _of(truth, cells) - self.mean.repeat(cells.patches.shape[1])
                    errors[cells.patches[:, 0]] = unseen.square().sum(1)
        found = {"floor": sums_by_image(errors, counts)}
        pooled = tuple(averaging(layout) for layout in layouts)
        if all(layout is not None for layout in pooled):
            known = tuple(layout for layout in pooled if layout is not None)
            found["average"] = sums_by_image(self._average_errors(truth, known), counts)
        return found

    def _average_errors(
        self, truth: Float[Tensor, "n d"], layouts: tuple[TokenLayout, ...]
    ) -> Float[Tensor, " n"]:
        tokens = truth.new_zeros(sum(layout.n_post for layout in layouts), truth.shape[1])
        alone = []
        for cells in cells_of_all(layouts, truth.device):
            tokens[cells.tokens] = truth[cells.patches].mean(1)
            if cells.shape == ONE:
                alone.append(cells.patches[:, 0])
        errors = (truth - rebuilt(tokens, layouts, self.mean, self.average.maps)).square_().sum(1)
        for patches in alone:  # the mean of one patch is that patch
            errors[patches] = 0
        return errors

    def on(self, device: torch.device) -> SizeFloor:
        """The same on a device."""
        if device == self.mean.device:
            return self
        bottlenecks = {shape: one.to(device) for shape, one in self.bottlenecks.items()}
        return replace(
            self, mean=self.mean.to(device), bottlenecks=bottlenecks, average=self.average.to(device)
        )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything, as tensors and plain values: what `RunStore.write` takes."""
        tensors = {"mean": self.mean} | self.average.tensors("average")
        for (rows, columns), one in self.bottlenecks.items():
            head = f"bottleneck.{rows}x{columns}"
            tensors |= {f"{head}.mean": one.mean, f"{head}.directions": one.directions}
        meta = {
            "config": self.config.as_json(),
            "by_patch": self.by_patch,
            "shapes": [list(shape) for shape in self.bottlenecks],
            "closed_form": self.closed_form,
            "training_images": self.training_images,
        }
        return tensors, meta

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> SizeFloor:
        """The inverse of `state`."""
        bottlenecks = {}
        for rows, columns in meta["shapes"]:
            head = f"bottleneck.{rows}x{columns}"
            bottlenecks[(rows, columns)] = CellComponents(
                tensors[f"{head}.mean"], tensors[f"{head}.directions"]
            )
        return cls(
            ReconstructionConfig.from_json(meta["config"]),
            tensors["mean"],
            meta["by_patch"],
            bottlenecks,
            LinearProbe.from_tensors("average", tensors),
            meta["closed_form"],
            meta["training_images"],
        )


def _of(patches: Float[Tensor, "n d"], cells: Cells) -> Float[Tensor, "cells slots_d"]:
    """The patches of each cell, end to end."""
    return patches[cells.patches].flatten(1)


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
