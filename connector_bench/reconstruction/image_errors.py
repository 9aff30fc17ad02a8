"""How well probes rebuilt the images of a batch: errors by patch, and their sums by image, on the tokens' device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from connector_bench.not_finite import POST, PRE, not_finite
from connector_bench.reconstruction.end_to_end import sums_by_image
from connector_bench.reconstruction.probes.moments import TargetStatistics
from connector_bench.types import TokenLayout


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Mean and spread of the training patches, by which errors are measured, on one device."""

    mean: Float[Tensor, " d_pre"]
    variance: Float[Tensor, " d_pre"]
    """By dimension; 1 for one that never varies."""
    total_variance: float
    """Variance summed over dimensions: the mean squared distance of a training patch from the mean."""
    typical_norm: float
    """Root mean square norm of a training patch."""

    @classmethod
    def of(cls, statistics: TargetStatistics, device: torch.device | str = "cpu") -> Yardstick:
        """Of the training patches' statistics."""
        total = statistics.total_variance
        variance = torch.where(
            statistics.variance > 0, statistics.variance, torch.ones_like(statistics.variance)
        )
        typical = math.sqrt(total + float(statistics.mean.square().sum()))
        return cls(statistics.mean.to(device), variance.to(device), total, max(typical, 1e-300))


@dataclass(frozen=True, eq=False)
class PatchErrors:
    """One probe's errors, by patch in the encoder's order: raster order within each tile."""

    squared: Float[Tensor, " n_pre"]
    """Squared distance, summed over dimensions, in the encoder's units."""
    cosine: Float[Tensor, " n_pre"]
    """Cosine of patch and prediction, both less the training mean; 0 where the prediction is that mean."""
    norm_difference: Float[Tensor, " n_pre"]
    """| |y| - |prediction| |, over the root mean square norm of a training patch."""
    by_dimension: Float[Tensor, "images d_pre"]
    """Squared error summed over an image's patches."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The patches of images end to end, and what every probe's errors are measured against."""

    patches: Float[Tensor, "n_pre d_pre"]
    layouts: tuple[TokenLayout, ...]
    yardstick: Yardstick
    centred: Float[Tensor, "n_pre d_pre"]
    """Less the training mean."""
    spread: Float[Tensor, " n_pre"]
    """Norm of each centred patch."""
    norms: Float[Tensor, " n_pre"]
    errors_of_the_mean: PatchErrors

    @classmethod
    def of(
        cls, patches: Float[Tensor, "n_pre d_pre"], layouts: tuple[TokenLayout, ...], yardstick: Yardstick
    ) -> Truth:
        """Patches in the encoder's units and any precision."""
        patches = patches.double()
        centred = patches - yardstick.mean
        norms = patches.norm(dim=1)
        squares = centred.square()
        mean = PatchErrors(
            squares.sum(1),
            torch.zeros_like(norms),
            (norms - yardstick.mean.norm()).abs() / yardstick.typical_norm,
            sums_by_image(squares, [layout.n_pre for layout in layouts]),
        )
        return cls(patches, layouts, yardstick, centred, centred.norm(dim=1), norms, mean)

    def errors(self, predicted: Float[Tensor, "n_pre d_pre"]) -> PatchErrors:
        """Of one probe's patches in the encoder's units, float64."""
        squares = (self.patches - predicted).square_()
        centred = predicted - self.yardstick.mean
        norms = self.spread * centred.norm(dim=1)
        products = (self.centred * centred).sum(1)
        cosine = torch.where(norms > 0, products / norms.clamp(min=1e-300), torch.zeros_like(norms))
        gap = (self.norms - predicted.norm(dim=1)).abs() / self.yardstick.typical_norm
        counts = [layout.n_pre for layout in self.layouts]
        return PatchErrors(squares.sum(1), cosine, gap, sums_by_image(squares, counts))


@dataclass(frozen=True, eq=False)
class BatchReconstruction:
    """How well each probe rebuilt some images; what is by patch has the images end to end."""

    images: tuple[str, ...]
    layouts: tuple[TokenLayout, ...]
    errors: dict[str, PatchErrors]
    best: str
    """The probe that was best on the validation fold: chosen before any test image was seen."""
    squared_total: Float[Tensor, " n_pre"]
    """Squared distance of each patch from the training mean."""
    total_by_dimension: Float[Tensor, "images d_pre"]
    yardstick: Yardstick
    finite: Bool[Tensor, "images 2"]
    """Whether all of an image's tokens are finite numbers, before the connector and behind it."""
    dtypes: tuple[torch.dtype, torch.dtype]
    """Of the tokens on the two sides, as the model gave them."""
    unfitted_patches: tuple[int, ...]
    """Patches of each image whose cell shape no training image had; they got the training mean."""

    def nmse(self, probe: str) -> Float[Tensor, " n_pre"]:
        """Per patch: squared error over the mean squared distance of a training patch from the mean."""
        return self.errors[probe].squared / self.yardstick.total_variance

    @property
    def loss_map(self) -> Float[Tensor, " n_pre"]:
        """`nmse` of the best probe: what is shown, and what is compared inside and outside a mask."""
        return self.nmse(self.best)

    def sums(self) -> tuple[list[str], Float[Tensor, "sums images"]]:
        """Names and values of the sums from which figures follow: they add up over images and processes."""
        names, by_patch = ["sst"], [self.squared_total]
        for name, errors in self.errors.items():
            names += [f"sse_{name}", f"cosine_{name}"]
            by_patch += [errors.squared, errors.cosine]
        counts = [layout.n_pre for layout in self.layouts]
        sums = sums_by_image(torch.stack(by_patch), counts, dim=1)
        names += [f"standardized_{name}" for name in self.errors]
        of_dimensions = [
            (errors.by_dimension / self.yardstick.variance).mean(1) for errors in self.errors.values()
        ]
        return names, torch.cat([sums, torch.stack(of_dimensions)])


def finite_by_image(
    pre: Float[Tensor, "n_pre d_pre"], post: Float[Tensor, "n_post d_post"], layouts: tuple[TokenLayout, ...]
) -> Bool[Tensor, "images 2"]:
    """Whether all of an image's tokens are finite numbers, before the connector and behind it."""
    sides = (pre, [layout.n_pre for layout in layouts]), (post, [layout.n_post for layout in layouts])
    strange = [sums_by_image((~torch.isfinite(tokens)).any(1).double(), counts) for tokens, counts in sides]
    return torch.stack(strange, dim=1) == 0


def refuse_not_finite(image: str, finite: Sequence[bool], dtypes: Sequence[torch.dtype]) -> None:
    """ValueError where an image's tokens, so precise, are not all finite before the connector, or behind it."""
    for side, good, dtype in zip((PRE, POST), finite, dtypes, strict=True):
        if not good:
            raise ValueError(not_finite(image, side, dtype))
