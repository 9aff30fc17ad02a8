"""Probes that were fitted on one data set and score any other: predicting, scoring, saving, loading.

On disk: `probes.safetensors` (weights, statistics, the hashes of the training images) and `probes.json`
(config, architectures, training records, and the SHA-256 of the weights they belong to).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save
from torch import Tensor

from connector_bench.reconstruction.cells import CellShape, cells_of
from connector_bench.reconstruction.config import ReconstructionConfig, target_of
from connector_bench.reconstruction.folds import LeakError, Ledger
from connector_bench.reconstruction.probes.attention_fit import AttentionFit
from connector_bench.reconstruction.probes.attention_probe import AttentionProbe, AttentionShape
from connector_bench.reconstruction.probes.cell_fit import CellProbes, CurvePoint
from connector_bench.reconstruction.probes.fit_log import FitLog
from connector_bench.reconstruction.probes.mlp import MLPProbe, MLPShape
from connector_bench.reconstruction.probes.moments import TargetStatistics
from connector_bench.reconstruction.probes.ridge import Affine, RidgeFit
from connector_bench.reconstruction.probes.training_loop import TrainingRecord
from connector_bench.reconstruction.scores import ImageReconstruction, patch_errors
from connector_bench.reconstruction.store import write_atomically
from connector_bench.types import TokenPair

WEIGHTS, DESCRIPTION = "probes.safetensors", "probes.json"


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


@dataclass(frozen=True, eq=False)
class FittedProbes:
    """The whole ladder, fitted; scores images it has not been fitted on."""

    config: ReconstructionConfig
    statistics: TargetStatistics
    training_images: Ledger
    cells: dict[CellShape, CellProbes]
    attention: AttentionFit | None
    learning_curve: LearningCurve
    log: FitLog = field(default_factory=FitLog)
    """Where the time of the fit went; neither described nor saved."""

    def predict(self, pair: TokenPair) -> dict[str, Float[Tensor, "n_pre d_pre"]]:
        """Every probe's patches, float64, in the encoder's order; `mean` is the bottom of the ladder."""
        return self._predict(pair)[0]

    def _predict(self, pair: TokenPair) -> tuple[dict[str, Tensor], int]:
        n_pre, d_pre = pair.layout.n_pre, len(self.statistics.mean)
        mean = self.statistics.mean.expand(n_pre, d_pre)
        predictions, unfitted = {"mean": mean}, 0
        if self.cells:
            predictions.update({name: mean.clone() for name in ("ridge", "mlp")})
            for cells in cells_of(pair.layout):
                probes = self.cells.get(cells.shape)
                if probes is None:
                    unfitted += cells.patches.numel()
                    continue
                for name, patches in probes.predict(pair.post[cells.tokens], d_pre).items():
                    predictions[name][cells.patches] = patches.cpu()
        if self.attention is not None:
            guessed = self.attention.predict(pair.post, pair.layout)
            predictions.update({name: patches.cpu() for name, patches in guessed.items()})
        return predictions, unfitted

    def score(self, image_id: str, pair: TokenPair) -> ImageReconstruction:
        """How well each probe rebuilds this image; LeakError where it was fitted on it."""
        if image_id in self.training_images:
            raise LeakError(f"image {image_id!r} was used to fit these probes and cannot test them")
        truth = target_of(pair, self.config).double()
        if truth.shape != (pair.layout.n_pre, len(self.statistics.mean)):
            raise ValueError(
                f"image {image_id!r} has patches {tuple(truth.shape)}, the probes rebuild "
                f"{pair.layout.n_pre} x {len(self.statistics.mean)}"
            )
        refuse_overflow(image_id, truth, pair.post)
        predictions, unfitted = self._predict(pair)
        centred = (truth - self.statistics.mean).square()
        return ImageReconstruction(
            image_id,
            pair.layout,
            {name: patch_errors(truth, patches, self.statistics) for name, patches in predictions.items()},
            self.learning_curve.best,
            centred.sum(1),
            centred.sum(0),
            self.statistics,
            unfitted,
        )

    def on(self, device: str) -> FittedProbes:
        """The same probes, predicting on a device; what they answer is on the CPU wherever they are.

        Trained networks are moved, not copied.
        """
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
        folder.mkdir(parents=True, exist_ok=True)
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
            head = _cell_name(probes.shape)
            weights.update(_affine_weights(f"{head}.ridge", probes.ridge.affine))
            weights.update({f"{head}.mlp.{name}": t for name, t in probes.mlp.state_dict().items()})
        if self.attention is not None:
            weights.update(_affine_weights("pooled", self.attention.pooled.affine))
            weights.update({f"attention.{name}": t for name, t in self.attention.probe.state_dict().items()})
        return {name: tensor.cpu().contiguous() for name, tensor in weights.items()}

    @classmethod
    def load(cls, folder: Path) -> FittedProbes:
        """Read back what `save` wrote; ValueError where weights and description do not belong together."""
        described = json.loads((folder / DESCRIPTION).read_text())
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        if digest != described["weights_sha256"]:
            raise ValueError(f"{folder / WEIGHTS} is not the file that {DESCRIPTION} describes")
        weights = load_file(folder / WEIGHTS)
        curve = described["learning_curve"]
        return cls(
            ReconstructionConfig.from_json(described["config"]),
            TargetStatistics(
                described["target_patches"], weights["statistics.mean"], weights["statistics.scatter"]
            ),
            Ledger.from_array(weights["training_images"].numpy()),
            {tuple(cell["shape"]): _load_cell(cell, weights) for cell in described["cells"]},
            _load_attention(described["attention"], weights),
            LearningCurve(
                tuple(curve["fractions"]),
                tuple(curve["patches"]),
                {name: tuple(map(_number, r2)) for name, r2 in curve["r2"].items()},
                curve["best"],
                curve["more_data_helps"],
            ),
        )


def refuse_overflow(image_id: str, pre: Tensor, post: Tensor) -> None:
    """ValueError where an image's tokens hold NaN or infinity, naming the side."""
    sides = {"pre (the connector's input)": pre, "post (the connector's output)": post}
    for side, tokens in sides.items():
        if not torch.isfinite(tokens).all():
            raise ValueError(
                f"features of image {image_id[:12]!r} at {side} hold NaN or infinity; "
                "half precision may have overflowed: load the model in float32 or bfloat16"
            )


def _cell_name(shape: CellShape) -> str:
    return f"cell-{shape[0]}x{shape[1]}"


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


def _load_fit(
    described: Mapping[str, Any], head: str, weights: Mapping[str, Tensor]
) -> tuple[RidgeFit, TrainingRecord, tuple[CurvePoint, ...]]:
    affine = Affine(weights[f"{head}.weight"], weights[f"{head}.bias"])
    by_penalty = dict(described["validation_r2_by_penalty"])
    losses = tuple(described["training"]["validation_losses"])
    record = TrainingRecord(**{**described["training"], "validation_losses": losses})
    curve = tuple(_load_point(point) for point in described["curve"])
    return RidgeFit(affine, described["penalty"], by_penalty), record, curve


def _load_point(values: Mapping[str, Any]) -> CurvePoint:
    errors = {name: _number(error) for name, error in values["squared_error"].items()}
    total = _number(values["squared_total"])
    return CurvePoint(values["fraction"], values["patches"], errors, total)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _without_nan(value: Any) -> Any:
    """The same with null for NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _load_cell(described: Mapping[str, Any], weights: Mapping[str, Tensor]) -> CellProbes:
    head = _cell_name(tuple(described["shape"]))
    ridge, record, curve = _load_fit(described, f"{head}.ridge", weights)
    mlp = MLPProbe(MLPShape(**described["architecture"]))
    mlp.load_state_dict(_under(f"{head}.mlp.", weights))
    return CellProbes(tuple(described["shape"]), ridge, mlp.eval(), record, curve)


def _load_attention(
    described: Mapping[str, Any] | None, weights: Mapping[str, Tensor]
) -> AttentionFit | None:
    if described is None:
        return None
    ridge, record, curve = _load_fit(described, "pooled", weights)
    probe = AttentionProbe(AttentionShape(**described["architecture"]))
    probe.load_state_dict(_under("attention.", weights))
    return AttentionFit(ridge, probe.eval(), record, curve)


def _under(head: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(head) :]: tensor for name, tensor in weights.items() if name.startswith(head)}
