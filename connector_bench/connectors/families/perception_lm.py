"""Perception LM: a perceptron, then average pooling; a thumbnail first, then tiles."""

from __future__ import annotations

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import tiles
from connector_bench.connectors.tilings import perception_boxes

PERCEPTION_LM = Family(
    model_types=("perception_lm",),
    connector="mlp + average pool",
    modules=("model.multi_modal_projector",),
    place=tiles(perception_boxes),
    one_at_a_time=True,
    dropped="CLS (before the connector)",
    note="the model cannot batch pictures with unequal numbers of tiles, so they pass one by one",
)

FAMILIES = (PERCEPTION_LM,)
