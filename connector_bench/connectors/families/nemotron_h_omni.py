"""Nemotron H Omni: packed patches of RADIO, a pixel shuffle, a norm and a perceptron."""

from __future__ import annotations

from connector_bench.connectors.families.internvl import shuffle
from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.connectors.layouts import packed


def _place(batch: Batch) -> list[Placement]:
    grids = [(int(rows), int(columns)) for rows, columns in batch.inputs["image_grid_hw"].tolist()]
    return packed(grids, shuffle(batch.config), block_order=True)


NEMOTRON_H_OMNI = Family(
    model_types=("nemotron_h_omni",),
    connector="pixel shuffle + mlp",
    modules=("multi_modal_projector",),
    place=_place,
    leading_norm="layer_norm",
    tokens_per_row=lambda config: shuffle(config) ** 2,
    dropped="summary and register tokens (before the connector)",
    note="the pixel shuffle before the module is undone, so that pre is one token a patch",
)

FAMILIES = (NEMOTRON_H_OMNI,)
