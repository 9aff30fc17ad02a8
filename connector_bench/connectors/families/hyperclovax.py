"""HyperCLOVA X Vision v2: Qwen2.5-VL's tower with its merger, and one linear layer behind it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from connector_bench.connectors.families.qwen import QWEN2_5_VL
from connector_bench.connectors.family import Batch, Placement


def _place(batch: Batch) -> list[Placement]:
    """The merger receives windows of blocks, the linear layer gives cells in raster order."""
    return [replace(where, post_rows=np.sort(where.post_rows)) for where in QWEN2_5_VL.place(batch)]


HYPERCLOVAX = replace(
    QWEN2_5_VL,
    model_types=("hyperclovax_vision_v2",),
    connector="patch merger + linear",
    modules=("model.vision_model.merger", "model.projector"),
    place=_place,
    note="the merger runs in window order, which is put back before the linear layer",
)

FAMILIES = (HYPERCLOVAX,)
