"""Encoders and connectors that no model holds, tokens of a known rank, and probes small enough for tests."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

import connector_bench as cb

KS = cb.PreservationOptions(ks=(1, 5))
SMALL = cb.ReconstructionConfig(
    patch_pairs=3000, validation_pairs=1000, mlp_width=32, attention_width=32, attention_heads=4, curve=False
)


class Patches(torch.nn.Module):
    """An encoder of 4 x 4 patches of a square picture."""

    def __init__(self, width: int = 24, size: int = 32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.size = size
        self.convolution = torch.nn.Conv2d(3, width, size // 4, size // 4)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.convolution(pixels).flatten(2).transpose(1, 2)


def pixels(given: list[Image.Image]) -> torch.Tensor:
    small = [np.asarray(one.resize((32, 32))) for one in given]
    return torch.stack([torch.from_numpy(one.copy()).permute(2, 0, 1).float() / 255 for one in small])


def bare(*connector: torch.nn.Module) -> tuple[torch.nn.Module, torch.nn.Module]:
    return Patches().eval(), torch.nn.Sequential(*connector).eval()


def projector(width: int = 12) -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Linear(24, width)


def low_rank(rank: int, n: int = 120, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    pre = torch.randn(n, 16, 24, generator=draw) * torch.linspace(1.5, 0.5, 24)
    return pre, pre[..., :rank]
