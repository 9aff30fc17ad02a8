"""Ridge and MLP from a token to its cell of patches: gathering, fitting, predicting, by cell shape."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from connector_bench.reconstruction.cells import CellShape
from connector_bench.reconstruction.config import DTYPES, ReconstructionConfig
from connector_bench.reconstruction.folds import FOLDS, FRACTIONS, TRAINING_FOLDS, Fold
from connector_bench.reconstruction.precision import fit_device, with_room
from connector_bench.reconstruction.probes.gains import ImageGains
from connector_bench.reconstruction.probes.mlp import CHUNK, MLPProbe, Rows, fit_rows
from connector_bench.reconstruction.probes.moments import Moments, MomentsStream, TargetStatistics
from connector_bench.reconstruction.probes.reservoir import Reservoir
from connector_bench.reconstruction.probes.ridge import Affine, RidgeFit, choose
from connector_bench.reconstruction.probes.training_loop import TrainingRecord


class CellSample:
    """All that is kept of the training images for cells of one shape."""

    def __init__(self, d_in: int, d_out: int, config: ReconstructionConfig) -> None:
        self.d_in, self.d_out, self.config = d_in, d_out, config
        self.moments = {fold: MomentsStream(d_in, d_out, config.chunk_rows, config.sums) for fold in FOLDS}
        dtype = DTYPES[config.reservoir_dtype]
        self.training = Reservoir(config.patch_pairs, dtype)
        self.validation = Reservoir(config.validation_pairs, dtype)

    def add(
        self,
        fold: Fold,
        keys: np.ndarray,
        images: np.ndarray,
        x: Float[Tensor, "n d_in"],
        y: Float[Tensor, "n d_out"],
    ) -> None:
        """Take cells of images of one fold; `keys` are the hashes of the cells, `images` of their images."""
        self.moments[fold].add(x, y)
        if fold == "validation":
            self.validation.add(keys, {"x": x, "y": y, "image": torch.from_numpy(images)})
        else:
            number = torch.full((len(keys),), FOLDS.index(fold), dtype=torch.uint8)
            self.training.add(keys, {"x": x, "y": y, "fold": number})

    def absorb(self, other: CellSample) -> None:
        """Merge the sample of other images."""
        for fold in FOLDS:
            self.moments[fold].absorb(other.moments[fold].value())
        self.training.absorb(other.training)
        self.validation.absorb(other.validation)

    def without_validation(self) -> CellSample:
        """The same training cells, and none to choose by."""
        left = copy(self)
        none = CellSample(self.d_in, self.d_out, self.config)
        left.moments = {**self.moments, "validation": none.moments["validation"]}
        left.validation = none.validation
        return left

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Everything under `prefix.`, for safetensors."""
        stored: dict[str, Tensor] = {}
        for fold in FOLDS:
            stored.update(self.moments[fold].tensors(f"{prefix}.{fold}"))
        stored.update(self.training.tensors(f"{prefix}.training"))
        stored.update(self.validation.tensors(f"{prefix}.reservoir_validation"))
        return stored

    def load(self, prefix: str, tensors: Mapping[str, Tensor]) -> None:
        """Take in what `tensors` wrote."""
        for fold in FOLDS:
            self.moments[fold].load(f"{prefix}.{fold}", tensors)
        self.training.load(f"{prefix}.training", tensors)
        self.validation.load(f"{prefix}.reservoir_validation", tensors)

    def rows_up_to(self, fold: Fold) -> Rows:
        """The sample's rows of the nested training budget that ends with `fold`."""
        rows = self.training.rows()[1]
        if not rows:
            return self._no_rows()
        if fold == TRAINING_FOLDS[-1]:
            return Rows(rows["x"], rows["y"])
        chosen = torch.nonzero(rows["fold"] <= FOLDS.index(fold))[:, 0].to(rows["x"].device)
        return Rows(rows["x"][chosen], rows["y"][chosen])

    def validation_rows(self) -> Rows:
        """The sample's validation rows."""
        rows = self.validation.rows()[1]
        return Rows(rows["x"], rows["y"]) if rows else self._no_rows()

    def validation_images(self) -> Int[Tensor, " n"]:
        """The hash of each validation row's image, on the CPU."""
        rows = self.validation.rows()[1]
        return rows["image"] if rows else torch.zeros(0, dtype=torch.int64)

    def _no_rows(self) -> Rows:
        return Rows(torch.zeros(0, self.d_in), torch.zeros(0, self.d_out))

    @property
    def trained_on(self) -> int:
        """Cells of training images."""
        return sum(self.moments[fold].n for fold in TRAINING_FOLDS)

    @property
    def device(self) -> torch.device:
        """Where the sample's rows lie."""
        columns = self.training.rows()[1]
        return columns["x"].device if columns else torch.device("cpu")


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
    gains: ImageGains | None = None
    """The MLP's over the ridge on the validation images; None where the probes were read back."""


def fit_cells(
    shape: CellShape,
    sample: CellSample,
    statistics: TargetStatistics,
    config: ReconstructionConfig,
    troubles: list[str],
) -> CellProbes:
    """Fit ridge and MLP on all training images, and on 1/4 and 1/2 of them for the learning curve.

    On the sample's device, if `config` names no other and it has room; the probes come back on the CPU.
    """
    return with_room(
        f"cells of {shape[0]} x {shape[1]} patches",
        lambda device: _fit_cells(shape, sample, statistics, config, device),
        fit_device(config.device, sample.device),
        troubles,
    )


def _fit_cells(
    shape: CellShape,
    sample: CellSample,
    statistics: TargetStatistics,
    config: ReconstructionConfig,
    device: torch.device,
) -> CellProbes:
    held_out = sample.moments["validation"].value().to(device)
    rows, mean = sample.validation_rows().to(device), statistics.mean.to(device)
    points: list[CurvePoint] = []
    fitted: tuple[RidgeFit, MLPProbe, TrainingRecord] | None = None
    gains: ImageGains | None = None
    for fold, moments in nested(sample.moments, config.curve, device):
        if moments.n == 0:
            continue
        ridge = choose(moments, held_out, config.penalties)
        sampled = fit_rows(sample.rows_up_to(fold).to(device), rows, config)
        by_row = _errors_by_row(rows, mean, ridge.affine, sampled.mlp)
        patches = sampled.training.examples * (sample.d_out // len(mean))
        points.append(CurvePoint(FRACTIONS[fold], patches, *_scaled(by_row, held_out.n)))
        gains = ImageGains.of(sample.validation_images(), by_row[0] - by_row[1])
        affine = ridge.affine.to("cpu")
        fitted = replace(ridge, affine=affine), sampled.mlp.to("cpu"), sampled.training
    if fitted is None:
        raise ValueError(f"no training image has a cell of {shape[0]} x {shape[1]} patches")
    return CellProbes(shape, *fitted, tuple(points), gains)


def nested(
    streams: Mapping[Fold, MomentsStream], curve: bool, device: torch.device
) -> Iterator[tuple[Fold, Moments]]:
    """The nested training budgets' moments on a device, smallest first; the whole alone without a curve."""
    total: Moments | None = None
    for fold in TRAINING_FOLDS:
        moments = streams[fold].value().to(device)
        total = moments if total is None else total + moments
        if curve or fold == TRAINING_FOLDS[-1]:
            yield fold, total


def _errors_by_row(
    rows: Rows, mean: Float[Tensor, " d"], ridge: Affine, mlp: MLPProbe
) -> Float[Tensor, "3 n"]:
    """Squared errors of ridge and MLP on the validation rows, and the rows' own about the training mean."""
    mean = mean.repeat(rows.y.shape[1] // len(mean))
    found = torch.empty(3, len(rows), dtype=torch.float64, device=rows.device)
    for first in range(0, len(rows), CHUNK):
        part = slice(first, first + CHUNK)
        x, y = rows.x[part], rows.y[part].to(torch.float64)
        for side, error in enumerate((ridge(x) - y, mlp.predict(x) - y, y - mean)):
            found[side, part] = error.square().sum(1)
    return found


def _scaled(by_row: Float[Tensor, "3 n"], held_out: int) -> tuple[dict[str, float], float]:
    """Sums of both probes' errors and of the rows' own, scaled up to `held_out` cells; NaN where there is no row."""
    if not by_row.shape[1]:
        return {"ridge": math.nan, "mlp": math.nan}, math.nan
    by_ridge, by_mlp, total = (held_out / by_row.shape[1] * by_row.sum(1).cpu()).tolist()
    return {"ridge": by_ridge, "mlp": by_mlp}, total
