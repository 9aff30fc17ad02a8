"""Gemma 3n: an adapter inside the tower fuses two scales of MobileNetV5 and pools them; then norm and linear layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import grid

if TYPE_CHECKING:
    from torch import Tensor


def _between(tokens: Tensor, given: Tensor) -> Tensor:
    """The fused feature map pooled to the adapter's resolution; its norm's map as rows, scaled as the model does."""
    from torch.nn import functional

    if given.ndim == 3:
        return tokens.flatten(2).transpose(1, 2) * tokens.shape[1] ** 0.5
    strides = [before // after for before, after in zip(tokens.shape[-2:], given.shape[-2:], strict=True)]
    even = all(b == s * a for b, s, a in zip(tokens.shape[-2:], strides, given.shape[-2:], strict=True))
    if not even:
        return functional.interpolate(tokens, size=given.shape[-2:], mode="bilinear")
    return tokens if strides == [1, 1] else functional.avg_pool2d(tokens, strides, strides)


GEMMA3N = Family(
    model_types=("gemma3n",),
    connector="multi-scale fusion + average pool + linear",
    modules=(
        "model.vision_tower.timm_model.msfa.ffn",
        "model.vision_tower.timm_model.msfa.norm",
        "model.embed_vision",
    ),
    place=grid(),
    between_modules=_between,
    channels_first=True,
    note="pre is the tower's last two scales side by side, the coarser one repeated, as its adapter receives them",
)

FAMILIES = (GEMMA3N,)
