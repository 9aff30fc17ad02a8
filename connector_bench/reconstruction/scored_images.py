"""What is kept of a scored image: its sums, its controls' errors and its loss map, brought to the CPU in one copy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.image_errors import BatchReconstruction, refuse_not_finite
from connector_bench.reconstruction.lossmaps import LossMap
from connector_bench.reconstruction.probes.fitted_controls import BY_PLACES
from connector_bench.types import TokenLayout


@dataclass(frozen=True, eq=False)
class ScoredImage:
    """One image's part of a `BatchReconstruction`, as plain numbers."""

    image_id: str
    layout: TokenLayout
    best: str
    total_variance: float
    """Of the training patches."""
    sums: dict[str, float]
    """The sums from which figures over many images follow: they add up over images and processes."""
    control_errors: dict[str, float]
    """Squared error of every control by figure; empty where controls were not measured on this image."""
    encoder_norm: float
    loss_map: LossMap
    unfitted_patches: int

    def r2(self, probe: str) -> float:
        """This image's pooled R2; NaN where its patches all equal the training mean."""
        total = self.sums["sst"]
        return 1 - self.sums[f"sse_{probe}"] / total if total > 0 else math.nan

    def figures(self) -> dict[str, float]:
        """This image's figures under the harness's names."""
        probes = [name.removeprefix("sse_") for name in self.sums if name.startswith("sse_")]
        figures = {f"r2_{name}": self.r2(name) for name in probes}
        figures["r2_best"] = self.r2(self.best)
        figures["lost"] = 1 - figures["r2_best"]
        if "r2_mlp" in figures:
            figures["nonlinear"] = figures["r2_mlp"] - figures["r2_ridge"]
        total = self.sums["sst"]
        if "floor" in self.sums and total > 0:
            figures["lost_floor"] = self.sums["floor"] / total
            figures["excess"] = figures["lost"] - figures["lost_floor"]
        if "average" in self.sums and total > 0:
            figures["lost_average"] = self.sums["average"] / total
        patches = self.sums["patches"]
        figures["nmse"] = self.sums[f"sse_{self.best}"] / (patches * self.total_variance)
        figures["cosine"] = self.sums[f"cosine_{self.best}"] / patches
        return figures


class ScoredBatch:
    """A batch's numbers on their way to the CPU, which goes on meanwhile.

    `control_errors` belong to the images named in `with_controls`, in their order.
    """

    def __init__(
        self,
        batch: BatchReconstruction,
        encoder_norms: Float[Tensor, " images"],
        with_controls: Sequence[str] = (),
        control_errors: Mapping[str, Float[Tensor, " controlled"]] | None = None,
        size_errors: Mapping[str, Float[Tensor, " images"]] | None = None,
    ) -> None:
        self.batch = batch
        self._with_controls, self._controls = with_controls, list(control_errors or {})
        self._names, sums = batch.sums()
        if size_errors:
            self._names += list(size_errors)
            sums = torch.cat([sums, torch.stack(list(size_errors.values()))])
        best = batch.errors[batch.best]
        self._crossing = _Crossing(
            sums,
            encoder_norms,
            torch.stack([*(control_errors or {}).values()] or [encoder_norms[:0]]),
            torch.stack([batch.loss_map, best.cosine, best.norm_difference]).float(),
            batch.finite,
        )

    def images(self) -> list[ScoredImage]:
        """The batch's images. ValueError where tokens held NaN or infinity, naming image and side."""
        sums, norms, controls, maps, finite = self._crossing.arrived()
        batch = self.batch
        for image, sides in zip(batch.images, finite.tolist(), strict=True):
            refuse_not_finite(image, sides, batch.dtypes)
        of_controls: dict[str, dict[str, float]] = {
            image: averaged_controls(dict(zip(self._controls, errors, strict=True)))
            for image, errors in zip(self._with_controls, controls.T.tolist(), strict=True)
        }
        map_of_image = maps.split([layout.n_pre for layout in batch.layouts], dim=1)
        each = zip(batch.images, batch.layouts, sums.T.tolist(), norms.tolist(), map_of_image, strict=True)
        return [
            ScoredImage(
                image,
                layout,
                batch.best,
                batch.yardstick.total_variance,
                {"patches": float(layout.n_pre), **dict(zip(self._names, values, strict=True))},
                of_controls.get(image, {}),
                norm,
                LossMap(image, layout, *own.numpy()),
                unfitted,
            )
            for (image, layout, values, norm, own), unfitted in zip(each, batch.unfitted_patches, strict=True)
        ]


def averaged_controls(errors: Mapping[str, float]) -> dict[str, float]:
    """Squared errors by figure, those of several initialisations (`name.0`, `name.1` ...) averaged beside them."""
    grouped: dict[str, list[float]] = {}
    for name, error in errors.items():
        if name != BY_PLACES:
            grouped.setdefault(name.split(".")[0], []).append(error)
    return dict(errors) | {name: float(np.mean(each)) for name, each in grouped.items()}


class _Crossing:
    """Tensors that cross to the CPU together: one copy into pinned memory, which the device makes in its turn."""

    def __init__(self, *tensors: Tensor) -> None:
        """Tensors of 8-byte numbers come before those of smaller ones."""
        self._kinds = [(tensor.shape, tensor.dtype) for tensor in tensors]
        everything = torch.cat([tensor.contiguous().flatten().view(torch.uint8) for tensor in tensors])
        self._done: torch.cuda.Event | None = None
        self._bytes = everything
        if everything.is_cuda:
            self._bytes = torch.empty(everything.shape, dtype=torch.uint8, pin_memory=True)
            self._bytes.copy_(everything, non_blocking=True)
            self._done = torch.cuda.Event()
            self._done.record()

    def arrived(self) -> list[Tensor]:
        """The tensors, once they are here."""
        if self._done is not None:
            self._done.synchronize()
        sizes = [shape.numel() * dtype.itemsize for shape, dtype in self._kinds]
        return [
            own.view(dtype).reshape(shape)
            for own, (shape, dtype) in zip(self._bytes.split(sizes), self._kinds, strict=True)
        ]
