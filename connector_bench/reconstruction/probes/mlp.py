"""The trained patch probes: an MLP beside a linear path, with the statistics it was trained with inside.

One class, one definition: training, scoring and reloading build a probe from the same frozen shape, which
is saved beside the weights, so that no option can differ between them unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.probes.moments import Moments, MomentsStream
from connector_bench.reconstruction.probes.ridge import Affine, RidgeFit, choose, input_scale
from connector_bench.reconstruction.probes.training_loop import TrainingRecord, build_seeded, train
from connector_bench.reconstruction.probes.training_step import input_dtype

WHITENING_FLOOR = 1e-7
"""Variance of a direction, relative to the largest, below which float32 inputs hold little but rounding."""


@dataclass(frozen=True)
class MLPShape:
    """Everything that decides an MLP probe's function besides its weights."""

    d_in: int
    d_out: int
    width: int
    layers: int = 3
    linear_path: bool = True
    directions: int | None = None
    """Whitened directions of the inputs that the probe sees; None: every input, standardised on its own."""

    def __post_init__(self) -> None:
        if self.layers < 2 or min(self.d_in, self.d_out, self.width) < 1:
            raise ValueError(f"an MLP probe needs two layers and positive widths, got {self}")


class Standardizer(nn.Module):
    """Takes off a mean and divides by a scale, both of the training images, saved with the weights."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(width, dtype=torch.float64))

    def set(self, mean: Float[Tensor, " d"], scale: Float[Tensor, " d"]) -> None:
        """Fix the statistics; a scale of 0 (a constant dimension) becomes 1."""
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(scale > 0, scale, torch.ones_like(scale)))

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Standardise in float64, answer in float32."""
        return ((x.to(torch.float64) - self.mean) / self.scale).to(torch.float32)

    def inverse(self, z: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Back to the original units, in float64."""
        return z.to(torch.float64) * self.scale + self.mean


def whitening(moments: Moments) -> Float[Tensor, "d k"]:
    """From standardised inputs to uncorrelated ones of variance 1, the directions of most variance first.

    A probe that sees these learns equally fast whatever invertible linear map the connector ends in, where plain
    inputs leave directions of small variance to late training, and what it has not reached by then would pass
    for lost. Directions that float32 cannot tell from rounding are left out.
    """
    scale = input_scale(moments)
    variances, axes = torch.linalg.eigh(moments.xx / moments.n / scale[:, None] / scale)
    variances, axes = variances.flip(0), axes.flip(1)
    kept = variances > WHITENING_FLOOR * variances[0].clamp(min=1e-300)
    if not kept.any():  # a connector that says the same of every picture, such as one that starts at zero
        return axes[:, :1]
    return axes[:, kept] / variances[kept].clamp(min=1e-300).sqrt()


def unwhitening(matrix: Float[Tensor, "d k"]) -> Float[Tensor, "k d"]:
    """The pseudo-inverse of a whitening: its columns are orthogonal, so that it is the scaled transpose.

    A step of Newton's iteration takes off what rounding a whitening to float32 does to its right angles.
    """
    inverse = (matrix / matrix.square().sum(0)).T
    return 2 * inverse - (inverse @ matrix) @ inverse


class MLPProbe(nn.Module):
    """Predicts a cell's patches from its token: `linear(x) + mlp(x)`, both in standardised units.

    The linear path starts at the ridge solution and the MLP's last layer at zero, so that before its first
    step the probe *is* the ridge: training can only add to it, and too little training is not read as loss.
    """

    whitening: Tensor | None

    def __init__(self, shape: MLPShape) -> None:
        super().__init__()
        self.shape = shape
        self.inputs = Standardizer(shape.d_in)
        self.targets = Standardizer(shape.d_out)
        seen = shape.d_in if shape.directions is None else shape.directions
        self.register_buffer("whitening", None if shape.directions is None else torch.zeros(shape.d_in, seen))
        widths = [seen] + [shape.width] * (shape.layers - 1) + [shape.d_out]
        blocks: list[nn.Module] = []
        for a, b in pairwise(widths):
            blocks += [nn.Linear(a, b), nn.GELU()]
        self.mlp = nn.Sequential(*blocks[:-1])
        self.linear = nn.Linear(seen, shape.d_out) if shape.linear_path else None

    @torch.no_grad()
    def whiten(self, matrix: Float[Tensor, "d k"]) -> None:
        """Fix the map from standardised inputs to those that the probe sees, as `whitening` gives it."""
        assert self.whitening is not None
        self.whitening.copy_(matrix)

    def prepare(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n k"]:
        """Tokens to what `forward` takes, float32."""
        z: Tensor = self.inputs(x)
        return z if self.whitening is None else z @ self.whitening

    @torch.no_grad()
    def start_at(self, ridge: Affine) -> None:
        """Make the untrained probe equal to a ridge solution given in original units."""
        if self.linear is None:
            raise ValueError("this probe has no linear path to start at the ridge solution")
        last = self.mlp[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        weight = self.inputs.scale[:, None] * ridge.weight / self.targets.scale
        if self.whitening is not None:
            weight = unwhitening(self.whitening.to(weight.dtype)) @ weight
        bias = (self.inputs.mean @ ridge.weight + ridge.bias - self.targets.mean) / self.targets.scale
        self.linear.weight.copy_(weight.T)
        self.linear.bias.copy_(bias)

    def forward(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n d_out"]:
        """Prepared inputs to standardised targets."""
        residual: Tensor = self.mlp(z)
        return residual if self.linear is None else residual + self.linear(z)

    @torch.no_grad()
    def predict(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_out"]:
        """Tokens to patches in their original units, float64."""
        return self.targets.inverse(self.forward(self.prepare(x.to(self.inputs.mean.device))))

    @property
    def parameters_count(self) -> int:
        """Trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters())


CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Rows:
    """Tokens and targets, row by row."""

    x: Float[Tensor, "n d_in"]
    y: Float[Tensor, "n d_out"]

    def __len__(self) -> int:
        return len(self.x)

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return self.x.device

    def to(self, device: torch.device) -> Rows:
        """The same on a device."""
        return Rows(self.x.to(device), self.y.to(device))

    def moments(self, config: ReconstructionConfig) -> Moments:
        """Their moments, float64, on their device."""
        stream = MomentsStream(self.x.shape[1], self.y.shape[1], config.chunk_rows, config.sums)
        for x, y in zip(self.x.split(CHUNK), self.y.split(CHUNK), strict=True):
            stream.add(x, y)
        return stream.value().to(self.device)


@dataclass(frozen=True, eq=False)
class RowFit:
    """Both probes of a sample, on its device."""

    ridge: RidgeFit
    mlp: MLPProbe
    training: TrainingRecord


class RowSample:
    """Rows as batches for the training loop, in the network's units from the start, on their own device."""

    def __init__(self, network: MLPProbe, training: Rows, validation: Rows, batch_size: int) -> None:
        self.training = _prepared(network, training, input_dtype(training.device))
        self.validation = _prepared(network, validation, torch.float32)
        self.batch_size = max(batch_size, 1024)

    @property
    def examples(self) -> int:
        """Rows to learn from."""
        return len(self.training)

    @property
    def device(self) -> torch.device:
        """Where the rows lie."""
        return self.training.device

    def loss(self, network: nn.Module, index: Int[Tensor, " b"]) -> Tensor:
        """Mean squared error in the targets' training units."""
        return _squared_error(network, self.training.x[index], self.training.y[index]).mean()

    def validation_loss(self, network: nn.Module) -> float:
        """The same on the validation rows, summed in float64."""
        rows = self.validation
        error = torch.zeros((), dtype=torch.float64, device=self.device)
        for x, y in zip(rows.x.split(self.batch_size), rows.y.split(self.batch_size), strict=True):
            error += _squared_error(network, x, y).double().sum()
        return float(error) / max(rows.y.numel(), 1)


def _squared_error(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return (network(x).float() - y).square()


def _prepared(network: MLPProbe, rows: Rows, dtype: torch.dtype) -> Rows:
    """Rows in the network's units: inputs in `dtype`, targets in float32."""
    return Rows(in_chunks(network.prepare, rows.x, dtype), in_chunks(network.targets, rows.y, torch.float32))


@torch.no_grad()
def in_chunks(
    units: Callable[[Tensor], Tensor], rows: Float[Tensor, "n d"], dtype: torch.dtype
) -> Float[Tensor, "n k"]:
    """All rows in a network's units, in `dtype`; some of them at a time, which need float64 on the way."""
    done = torch.empty(len(rows), units(rows[:1]).shape[1], dtype=dtype, device=rows.device)
    for first in range(0, len(rows), CHUNK):
        done[first : first + CHUNK] = units(rows[first : first + CHUNK])
    return done


def fit_rows(training: Rows, validation: Rows, config: ReconstructionConfig) -> RowFit:
    """Fit both probes; the penalty is chosen, and training stopped, on the validation rows.

    All of it happens where the rows lie. ValueError where there is no row to learn from.
    """
    if not len(training):
        raise ValueError("there is no row to fit a probe on")
    moments = training.moments(config)
    ridge = choose(moments, validation.moments(config), config.penalties)
    network = untrained_probe(moments, ridge.affine, config)
    sample = RowSample(network, training, validation, config.schedule.batch_size)
    return RowFit(ridge, network, train(network, sample, config.schedule))


def untrained_probe(moments: Moments, ridge: Affine, config: ReconstructionConfig) -> MLPProbe:
    """The probe of rows with these moments before its first step, on the moments' device."""
    matrix = whitening(moments) if config.whiten else None
    shape = MLPShape(
        len(moments.mean_x),
        len(moments.mean_y),
        config.mlp_width,
        config.mlp_layers,
        config.linear_path,
        None if matrix is None else matrix.shape[1],
    )
    network = build_seeded(lambda: MLPProbe(shape), config.schedule.seed + config.seed)
    network.to(moments.xx.device)
    network.inputs.set(moments.mean_x, input_scale(moments))
    variance = moments.yy / moments.n
    scale = variance.sqrt() if config.standardize_targets else variance.mean().sqrt().expand_as(variance)
    network.targets.set(moments.mean_y, scale)
    if matrix is not None:
        network.whiten(matrix)
    if config.linear_path:
        network.start_at(ridge)
    return network
