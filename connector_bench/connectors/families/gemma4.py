"""Gemma 4: the tower ends in k x k average pooling by position, which is part of the connector; then a linear layer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from connector_bench.connectors import layouts
from connector_bench.connectors.family import Batch, Family, Placement

if TYPE_CHECKING:
    from torch import Tensor


def _place(batch: Batch) -> list[Placement]:
    """Patches in raster order at the beginning of each padded row of the batch; connector tokens without padding."""
    positions = batch.inputs["image_position_ids"]
    padded = int(positions.shape[1])
    columns, rows = (positions.amax(dim=1) + 1).T.tolist()
    merge = int(batch.config.vision_config.pooling_kernel_size)
    packed = layouts.packed(list(zip(rows, columns, strict=True)), merge)
    return [
        replace(where, pre_rows=number * padded + np.arange(where.layout.n_pre))
        for number, where in enumerate(packed)
    ]


def _as_pooled(pooled: Tensor, given: Tensor) -> Tensor:
    """What the model itself gives: pooling learns nothing, so an untrained connector's is the same."""
    return given


GEMMA4 = Family(
    model_types=("gemma4",),
    connector="average pool + linear",
    modules=("model.vision_tower.pooler", "model.embed_vision"),
    place=_place,
    pre_argument="hidden_states",
    between_modules=_as_pooled,
    dropped="padding",
    note="pooling at the tower's end belongs to the connector, and so do statistics that then standardise its tokens",
)

FAMILIES = (GEMMA4,)
