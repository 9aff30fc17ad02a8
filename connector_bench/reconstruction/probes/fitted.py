"""Probes that were fitted on one data set and score any other: predicting, scoring, saving, loading.

On disk: `probes.safetensors` (weights, statistics, the hashes of the training images) and `probes.json`
(config, architectures, training records, and the SHA-256 of the weights they belong to).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save
from torch import Tensor

from connector_bench.atomic_files import make_folder, write_atomically
from connector_bench.foreign_files import read_json
from connector_bench.reconstruction.cells import CellShape, cells_of
from connector_bench.reconstruction.config import ReconstructionConfig, target_of
from connector_bench.reconstruction.end_to_end import rebuilt
from connector_bench.reconstruction.folds import LeakError, Ledger
from connector_bench.reconstruction.image_errors import (
    BatchReconstruction,
    Truth,
    Yardstick,
    finite_by_image,
)
from connector_bench.reconstruction.probes.attention_fit import AttentionFit
from connector_bench.reconstruction.probes.cell_fit import CellProbes, CurvePoint
from connector_bench.reconstruction.probes.folded_mlp import FoldedMLP
from connector_bench.reconstruction.probes.moments import TargetStatistics
from connector_bench.reconstruction.probes.ridge import Affine, RidgeFit
from connector_bench.reconstruction.probes.stored_probes import cell_name, load_attention, load_cell, number
from connector_bench.reconstruction.probes.training_loop import TrainingRecord
from connector_bench.reconstruction.store import readable
from connector_bench.stats.floors import LEAST_VALIDATION_IMAGES
from connector_bench.types import TokenBatch, TokenLayout

WEIGHTS, DESCRIPTION = "probes.safetensors", "probes.json"
TRAINED = ("mlp", "attention")
"""Probes that stop training by the validation images."""


@dataclass(frozen=True)
class LearningCurve:
    """Validation R2 of every probe at shares of the training images."""

    fractions: tuple[float, ...]
    patches: tuple[int, ...]
    r2: dict[str, tuple[float, ...]]
    best: str
    """The probe with the highest validation R2 on all images; `mean` where none beats the mean."""
    more_data_helps: bool | None
    """Whether the best probe still gained from 1/2 to all of the images; None where not measured."""
    validation_images: int | None = None
    """How many images all of this rests on; None where that was not recorded."""

    @property
    def chosen(self) -> bool:
        """Whether enough images chose penalty and best probe, and stopped training; else all of that is fixed."""
        return self.validation_images is None or self.validation_images >= LEAST_VALIDATION_IMAGES


@dataclass(frozen=True, eq=False)
class FittedProbes:
    """The whole ladder, fitted; scores images it has not been fitted on."""

    config: ReconstructionConfig
    statistics: TargetStatistics
    training_images: Ledger
    cells: dict[CellShape, CellProbes]
    attention: AttentionFit | None
    learning_curve: LearningCurve
    troubles: tuple[str, ...] = ()
    """What stood in the fit's way, for the task's warnings; neither described nor saved."""

    @cached_property
    def device(self) -> torch.device:
        """Where the probes are."""
        ridges = [probes.ridge for probes in self.cells.values()]
        ridges += [] if self.attention is None else [self.attention.pooled]
        return ridges[0].affine.weight.device

    @cached_property
    def yardstick(self) -> Yardstick:
        """The training patches' mean and spread, on the probes' device."""
        return Yardstick.of(self.statistics, self.device)

    @cached_property
    def _by_shape(self) -> dict[str, dict[CellShape, Callable[[Tensor], Tensor]]]:
        """What predicts a cell's patches from its token, by probe and shape of cell."""
        return {
            "ridge": {shape: probes.ridge.affine for shape, probes in self.cells.items()},
            "mlp": {shape: FoldedMLP(probes.mlp).predict for shape, probes in self.cells.items()},
        }

    def predict(self, batch: TokenBatch) -> dict[str, Float[Tensor, "n_pre d_pre"]]:
        """Every probe's patches, float64, in the encoder's order, images end to end; `mean` gives the mean.

        Linear probes alone where too few images could stop a training.
        """
        found: dict[str, Tensor] = {}
        if self.cells:
            for name, probes in self._by_shape.items():
                found[name] = rebuilt(batch.post, batch.layouts, self.yardstick.mean, probes)
        if self.attention is not None:
            found |= self.attention.predict(batch.post, batch.layouts)
        return {name: patches for name, patches in found.items() if self.trained or name not in TRAINED}

    @property
    def trained(self) -> bool:
        """Whether the networks are more than the linear probes that they start from."""
        return self.learning_curve.chosen or self.config.protocol == "paper"

    def score(self, batch: TokenBatch) -> BatchReconstruction:
        """How well each probe rebuilds these images, whose tokens are where the probes are.

        Nothing waits for the device; on the CPU the last bits depend on what is in the batch: see `parts`. LeakError
        where a probe was fitted on an image, ValueError where its patches have another width.
        """
        if trained := [image for image in batch.images if image in self.training_images]:
            raise LeakError(f"image {trained[0]!r} was used to fit these probes and cannot test them")
        patches = target_of(batch, self.config)
        rows, width = sum(layout.n_pre for layout in batch.layouts), len(self.yardstick.mean)
        if patches.shape != (rows, width):
            raise ValueError(
                f"image {batch.images[0]!r} has patches {tuple(patches.shape)}, the probes rebuild {rows} x {width}"
                if len(batch) == 1
                else f"{len(batch)} images have patches {tuple(patches.shape)}, the probes rebuild {rows} x {width}"
            )
        truth = Truth.of(patches, batch.layouts, self.yardstick)
        errors = {"mean": truth.errors_of_the_mean}
        errors |= {name: truth.errors(predicted) for name, predicted in self.predict(batch).items()}
        return BatchReconstruction(
            batch.images,
            batch.layouts,
            errors,
            self.learning_curve.best,
            truth.errors_of_the_mean.squared,
            truth.errors_of_the_mean.by_dimension,
            self.yardstick,
            finite_by_image(patches, batch.post, batch.layouts),
            (patches.dtype, batch.post.dtype),
            tuple(self._unfitted(layout) for layout in batch.layouts),
        )

    def _unfitted(self, layout: TokenLayout) -> int:
        cells = cells_of(layout) if self.cells else ()
        return sum(each.patches.numel() for each in cells if each.shape not in self.cells)

    def on(self, device: torch.device) -> FittedProbes:
        """The same probes on a device. Trained networks are moved, not copied."""
        if device == self.device:
            return self
        cells = {
            shape: replace(
                probes,
                ridge=replace(probes.ridge, affine=probes.ridge.affine.to(device)),
                mlp=probes.mlp.to(device),
            )
            for shape, probes in self.cells.items()
        }
        attention = self.attention
        if attention is not None:
            pooled = replace(attention.pooled, affine=attention.pooled.affine.to(device))
            attention = replace(attention, pooled=pooled, probe=attention.probe.to(device))
        return replace(self, cells=cells, attention=attention)

    @property
    def parameters(self) -> dict[str, int]:
        """Fitted numbers of every probe."""
        counts = {"mean": len(self.statistics.mean)}
        if self.cells:
            affine = [probes.ridge.affine for probes in self.cells.values()]
            counts["ridge"] = sum(a.weight.numel() + a.bias.numel() for a in affine)
            counts["mlp"] = sum(probes.mlp.parameters_count for probes in self.cells.values())
        if self.attention is not None:
            pooled = self.attention.pooled.affine
            counts["pooled"] = pooled.weight.numel() + pooled.bias.numel()
            counts["attention"] = self.attention.probe.parameters_count
        return counts

    def description(self) -> dict[str, Any]:
        """All but the weights, as plain values: what goes into a result file and `probes.json`."""
        described: dict[str, Any] = {
            "config": self.config.as_json(),
            "training_images": {"n": len(self.training_images), "sha256": self.training_images.fingerprint()},
            "target_patches": self.statistics.n,
            "target_total_variance": self.statistics.total_variance,
            "parameters": self.parameters,
            "learning_curve": asdict(self.learning_curve),
            "torch": torch.__version__,
            "cells": [_describe_cell(probes) for probes in self.cells.values()],
            "attention": None,
        }
        if self.attention is not None:
            described["attention"] = {
                **_describe_fit(self.attention.pooled, self.attention.training, self.attention.curve),
                "architecture": asdict(self.attention.probe.shape),
            }
        plain: dict[str, Any] = _without_nan(described)
        return plain

    def save(self, folder: Path) -> None:
        """Write weights and description; each file appears whole or not at all, the description last."""
        make_folder(folder)
        weights = save(self.weights())
        described = {**self.description(), "weights_sha256": hashlib.sha256(weights).hexdigest()}
        write_atomically(folder / WEIGHTS, weights)
        write_atomically(folder / DESCRIPTION, json.dumps(described, indent=1, sort_keys=True).encode())

    def weights(self) -> dict[str, Tensor]:
        """All that was fitted, and the hashes of the training images."""
        weights = {
            "statistics.mean": self.statistics.mean,
            "statistics.scatter": self.statistics.scatter,
            "training_images": torch.from_numpy(self.training_images.array()),
        }
        for probes in self.cells.values():
            head = cell_name(probes.shape)
            weights.update(_affine_weights(f"{head}.ridge", probes.ridge.affine))
            weights.update({f"{head}.mlp.{name}": t for name, t in probes.mlp.state_dict().items()})
        if self.attention is not None:
            weights.update(_affine_weights("pooled", self.attention.pooled.affine))
            weights.update({f"attention.{name}": t for name, t in self.attention.probe.state_dict().items()})
        return {name: tensor.cpu().contiguous() for name, tensor in weights.items()}

    @classmethod
    def load(cls, folder: Path) -> FittedProbes:
        """Read back what `save` wrote; DamagedState where weights and description do not belong together."""
        with readable(folder / DESCRIPTION):
            described = read_json(folder / DESCRIPTION)
            return cls._described(described, folder / WEIGHTS)

    @classmethod
    def _described(cls, described: dict[str, Any], path: Path) -> FittedProbes:
        digest = hashlib.sha256((path).read_bytes()).hexdigest()
        if digest != described["weights_sha256"]:
            raise ValueError(f"{path} is not the file that {DESCRIPTION} describes")
        weights = load_file(path)
        curve = described["learning_curve"]
        return cls(
            ReconstructionConfig.from_json(described["config"]),
            TargetStatistics(
                described["target_patches"], weights["statistics.mean"], weights["statistics.scatter"]
            ),
            Ledger.from_array(weights["training_images"].numpy()),
            {tuple(cell["shape"]): load_cell(cell, weights) for cell in described["cells"]},
            load_attention(described["attention"], weights),
            LearningCurve(
                tuple(curve["fractions"]),
                tuple(curve["patches"]),
                {name: tuple(map(number, r2)) for name, r2 in curve["r2"].items()},
                curve["best"],
                curve["more_data_helps"],
                curve.get("validation_images"),
            ),
        )


def _affine_weights(head: str, affine: Affine) -> dict[str, Tensor]:
    return {f"{head}.weight": affine.weight, f"{head}.bias": affine.bias}


def _describe_cell(probes: CellProbes) -> dict[str, Any]:
    return {
        "shape": list(probes.shape),
        **_describe_fit(probes.ridge, probes.training, probes.curve),
        "architecture": asdict(probes.mlp.shape),
    }


def _describe_fit(ridge: RidgeFit, training: TrainingRecord, curve: tuple[CurvePoint, ...]) -> dict[str, Any]:
    return {
        "penalty": ridge.penalty,
        "validation_r2_by_penalty": [[penalty, r2] for penalty, r2 in ridge.validation_r2.items()],
        "training": {**asdict(training), "validation_losses": list(training.validation_losses)},
        "curve": [asdict(point) for point in curve],
    }


def _without_nan(value: Any) -> Any:
    """The same with null for NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
