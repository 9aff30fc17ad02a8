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
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.cells import Cells, CellShape, is_placed, on_device
from connector_bench.reconstruction.config import ReconstructionConfig, target_of
from connector_bench.reconstruction.end_to_end import cells_of_all, rebuilt, sums_by_image
from connector_bench.reconstruction.probes.linear import LinearProbe
from connector_bench.types import TokenBatch, TokenLayout

ONE: CellShape = (1, 1)
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
