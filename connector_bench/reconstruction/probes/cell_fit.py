"""Ridge and MLP from a token to its cell of patches: gathering, fitting, predicting, by cell shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.cells import CellShape
from connector_bench.reconstruction.config import DTYPES, ReconstructionConfig
from connector_bench.reconstruction.folds import FOLDS, FRACTIONS, TRAINING_FOLDS, Fold
from connector_bench.reconstruction.probes.mlp import MLPProbe, Rows, fit_rows
from connector_bench.reconstruction.probes.moments import Moments, MomentsStream, TargetStatistics
from connector_bench.reconstruction.probes.reservoir import Reservoir
from connector_bench.reconstruction.probes.ridge import Affine, RidgeFit, choose
from connector_bench.reconstruction.probes.training_loop import TrainingRecord


class CellSample:
    """All that is kept of the training images for cells of one shape."""

    def __init__(self, d_in: int, d_out: int, config: ReconstructionConfig) -> None:
        self.d_in, self.d_out = d_in, d_out
        self.moments = {fold: MomentsStream(d_in, d_out, config.chunk_rows, config.device) for fold in FOLDS}
        dtype = DTYPES[config.reservoir_dtype]
        self.training = Reservoir(config.patch_pairs, dtype)
        self.validation = Reservoir(config.validation_pairs, dtype)

    def add(
        self, fold: Fold, keys: np.ndarray, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]
    ) -> None:
        """Take one image's cells; `keys` are the cells' hashes."""
        self.moments[fold].add(x, y)
        reservoir = self.validation if fold == "validation" else self.training
        number = torch.full((len(keys),), FOLDS.index(fold), dtype=torch.uint8)
        reservoir.add(keys, {"x": x, "y": y, "fold": number})

    def absorb(self, other: CellSample) -> None:
        """Merge the sample of other images."""
        for fold in FOLDS:
            self.moments[fold].absorb(other.moments[fold].value())
        self.training.absorb(other.training)
        self.validation.absorb(other.validation)

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Everything under `prefix.`, for safetensors."""
        stored: dict[str, Tensor] = {}
        for fold in FOLDS:
            stored.update(self.moments[fold].value().tensors(f"{prefix}.{fold}"))
        stored.update(self.training.tensors(f"{prefix}.training"))
        stored.update(self.validation.tensors(f"{prefix}.reservoir_validation"))
        return stored

    def load(self, prefix: str, tensors: Mapping[str, Tensor]) -> None:
        """Take in what `tensors` wrote."""
        for fold in FOLDS:
            self.moments[fold].absorb(Moments.from_tensors(f"{prefix}.{fold}", tensors))
        self.training.load(f"{prefix}.training", tensors)
        self.validation.load(f"{prefix}.reservoir_validation", tensors)

    def rows_up_to(self, fold: Fold) -> Rows:
        """The sample's rows of the nested training budget that ends with `fold`."""
        rows = self.training.rows()[1]
        if not rows:
            return self._no_rows()
        chosen = torch.nonzero(rows["fold"] <= FOLDS.index(fold))[:, 0]
        return Rows(rows["x"][chosen], rows["y"][chosen])

    def validation_rows(self) -> Rows:
        """The sample's validation rows."""
        rows = self.validation.rows()[1]
        return Rows(rows["x"], rows["y"]) if rows else self._no_rows()

    def _no_rows(self) -> Rows:
        return Rows(torch.zeros(0, self.d_in), torch.zeros(0, self.d_out))

    def moments_up_to(self, fold: Fold) -> Moments:
        """Moments of the nested training budget that ends with `fold`."""
        total = self.moments["quarter"].value()
        for wanted in TRAINING_FOLDS[1 : TRAINING_FOLDS.index(fold) + 1]:
            total = total + self.moments[wanted].value()
        return total


@dataclass(frozen=True)
class CurvePoint:
    """Validation error at one share of the training images, as sums, so that cell shapes add up."""

    fraction: float
    patches: int
    """Patches the probe learned from."""
    squared_error: dict[str, float]
    squared_total: float


@dataclass(frozen=True, eq=False)
class CellProbes:
    """The fitted probes of one cell shape."""

    shape: CellShape
    ridge: RidgeFit
    mlp: MLPProbe
    training: TrainingRecord
    curve: tuple[CurvePoint, ...]


def fit_cells(
    shape: CellShape, sample: CellSample, statistics: TargetStatistics, config: ReconstructionConfig
) -> CellProbes:
    """Fit ridge and MLP on all training images, and on 1/4 and 1/2 of them for the learning curve."""
    held_out = sample.moments["validation"].value()
    stages: tuple[Fold, ...] = TRAINING_FOLDS if config.curve else ("full",)
    points: list[CurvePoint] = []
    fitted: tuple[RidgeFit, MLPProbe, TrainingRecord] | None = None
    for fold in stages:
        moments = sample.moments_up_to(fold)
        if moments.n == 0:
            continue
        ridge = choose(moments, held_out, config.penalties)
        sampled = fit_rows(sample.rows_up_to(fold), sample.validation_rows(), config)
        mlp, record = sampled.mlp, sampled.training
        points.append(_curve_point(sample, fold, ridge.affine, mlp, record, statistics))
        fitted = ridge, mlp, record
    if fitted is None or moments.n == 0:
        raise ValueError(f"no training image has a cell of {shape[0]} x {shape[1]} patches")
    return CellProbes(shape, *fitted, tuple(points))


def _curve_point(
    sample: CellSample,
    fold: Fold,
    ridge: Affine,
    mlp: MLPProbe,
    record: TrainingRecord,
    statistics: TargetStatistics,
) -> CurvePoint:
    """Both probes' errors on the same validation rows, scaled up to all validation cells."""
    slots = sample.d_out // len(statistics.mean)
    held_out = sample.validation.rows()[1]
    if not held_out:
        return CurvePoint(
            FRACTIONS[fold], record.examples * slots, {"ridge": math.nan, "mlp": math.nan}, math.nan
        )
    errors, total = {"ridge": 0.0, "mlp": 0.0}, 0.0
    mean = statistics.mean.repeat(slots)
    for x, y in zip(held_out["x"].split(4096), held_out["y"].split(4096), strict=True):
        y = y.to(torch.float64)
        errors["ridge"] += float((ridge(x) - y).square().sum())
        errors["mlp"] += float((mlp.predict(x) - y).square().sum())
        total += float((y - mean).square().sum())
    weight = sample.moments["validation"].value().n / len(held_out["x"])
    scaled = {name: weight * error for name, error in errors.items()}
    return CurvePoint(FRACTIONS[fold], record.examples * slots, scaled, weight * total)
