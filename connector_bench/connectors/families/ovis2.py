"""Ovis 2: patches become probabilities over a visual vocabulary, whose embeddings are mixed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connector_bench.connectors.family import Batch, Family
from connector_bench.connectors.places import tiles, whole_first_if_split
from connector_bench.types import Grid

if TYPE_CHECKING:
    from torch import Tensor


def _stride(config: Any) -> int:
    """Side of the block of patches that one visual word stands for."""
    return int(config.vision_config.hidden_stride)


def _grid(batch: Batch, index: int) -> Grid:
    rows, columns = (int(n) for n in batch.inputs["grids"][index])
    return rows, columns


def as_probabilities(logits: Tensor, given: Tensor) -> Tensor:
    """Probabilities of visual words, and zeros for the words that only mark where a picture begins and ends."""
    if logits.shape == given.shape:
        return logits
    from torch.nn import functional

    return functional.pad(logits.softmax(dim=-1), (0, given.shape[-1] - logits.shape[-1]))


OVIS2 = Family(
    model_types=("ovis2",),
    connector="visual vocabulary",
    modules=(
        "model.vision_tower.head_linear",
        "model.vision_tower.head_norm",
        "model.visual_embeddings_table",
    ),
    between_modules=as_probabilities,
    place=tiles(whole_first_if_split(_grid), block_order=_stride),
    tokens_per_row=lambda config: _stride(config) ** 2,
)

FAMILIES = (OVIS2,)
