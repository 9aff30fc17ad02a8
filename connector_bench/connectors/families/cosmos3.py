"""Cosmos 3, its reasoner: Omni holds Qwen3-VL's tower and mergers, Edge one merger behind SigLIP 2."""

from dataclasses import replace

from connector_bench.connectors.families.qwen import QWEN3_VL
from connector_bench.connectors.family import Family
from connector_bench.connectors.places import by_grid_thw

COSMOS3_OMNI = replace(QWEN3_VL, model_types=("cosmos3_omni",))

COSMOS3_EDGE = Family(
    model_types=("cosmos3_edge",),
    connector="patch merger",
    modules=("model.projector",),
    place=by_grid_thw(),
    leading_norm="norm",
)

FAMILIES = (COSMOS3_OMNI, COSMOS3_EDGE)
