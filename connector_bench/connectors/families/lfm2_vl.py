"""LFM2-VL: SigLIP2 in native resolution; the connector, pixel shuffle inside, is called once a tile."""

from dataclasses import replace

from connector_bench.connectors.family import Family
from connector_bench.connectors.tilings import place_lfm2

PLAIN = Family(
    model_types=("lfm2_vl",),
    connector="pixel shuffle + mlp",
    modules=("model.multi_modal_projector",),
    place=place_lfm2,
    options={"return_row_col_info": True},
    dropped="padding",
    when=lambda config: not config.projector_use_layernorm,
)

WITH_NORM = replace(PLAIN, leading_norm="layer_norm", when=lambda config: config.projector_use_layernorm)

FAMILIES = (PLAIN, WITH_NORM)
