"""The trained patch probes: an MLP beside a linear path, with the statistics it was trained with inside.

One class, one definition: training, scoring and reloading build a probe from the same frozen shape, which
is saved beside the weights, so that no option can differ between them unnoticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from connector_bench.reconstruction.ridge import Affine


@dataclass(frozen=True)
class MLPShape:
    """Everything that decides an MLP probe's function besides its weights."""

    d_in: int
    d_out: int
    width: int
    layers: int = 3
    linear_path: bool = True

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


class MLPProbe(nn.Module):
    """Predicts a cell's patches from its token: `linear(x) + mlp(x)`, both in standardised units.

    The linear path starts at the ridge solution and the MLP's last layer at zero, so that before its first
    step the probe *is* the ridge: training can only add to it, and too little training is not read as loss.
    """

    def __init__(self, shape: MLPShape) -> None:
        super().__init__()
        self.shape = shape
        self.inputs = Standardizer(shape.d_in)
        self.targets = Standardizer(shape.d_out)
        widths = [shape.d_in] + [shape.width] * (shape.layers - 1) + [shape.d_out]
        blocks: list[nn.Module] = []
        for a, b in pairwise(widths):
            blocks += [nn.Linear(a, b), nn.GELU()]
        self.mlp = nn.Sequential(*blocks[:-1])
        self.linear = nn.Linear(shape.d_in, shape.d_out) if shape.linear_path else None

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
        bias = (self.inputs.mean @ ridge.weight + ridge.bias - self.targets.mean) / self.targets.scale
        self.linear.weight.copy_(weight.T)
        self.linear.bias.copy_(bias)

    def forward(self, z: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_out"]:
        """Standardised inputs to standardised targets."""
        residual: Tensor = self.mlp(z)
        return residual if self.linear is None else residual + self.linear(z)

    @torch.no_grad()
    def predict(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_out"]:
        """Tokens to patches in their original units, float64."""
        return self.targets.inverse(self.forward(self.inputs(x.to(self.inputs.mean.device))))

    @property
    def parameters_count(self) -> int:
        """Trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters())
