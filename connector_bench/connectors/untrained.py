"""The same connector before any training: copies of its modules at a fresh random initialisation."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def untrained_copy(module: nn.Module, seed: int) -> nn.Module:
    """A copy of `module` in its own precision and place, with every parameter drawn anew.

    Modules that know torch's default initialisation (`reset_parameters`) use it. Of the others, a matrix is drawn
    with standard deviation 1 / sqrt(fan-in), also where its authors start it at zero, since a map to zero tells
    nothing; a vector is 1 if it is a weight (a norm's scale) and 0 if it is a bias. Torch's random state is left
    as it was.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = copy.deepcopy(module).cpu().float()
        for part in fresh.modules():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
            else:
                for name, parameter in part.named_parameters(recurse=False):
                    _draw(name, parameter)
    like = next(module.parameters())
    return fresh.to(like.device, like.dtype).requires_grad_(False).eval()


def _draw(name: str, parameter: nn.Parameter) -> None:
    import torch

    with torch.no_grad():
        if parameter.ndim >= 2:
            parameter.normal_(
                std=1 / math.sqrt(parameter[0].numel() if parameter.ndim > 2 else parameter.shape[-1])
            )
        else:
            parameter.fill_(0.0 if "bias" in name else 1.0)
