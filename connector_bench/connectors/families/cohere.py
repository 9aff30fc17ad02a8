"""Aya Vision and Command A Vision: tiles and a thumbnail, pixel shuffle inside the connector."""

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import thumbnail_last, tiles
from connector_bench.connectors.tilings import cropped_grid

AYA_VISION = Family(
    model_types=("aya_vision",),
    connector="pixel shuffle + gated mlp",
    modules=("model.multi_modal_projector",),
    place=tiles(
        thumbnail_last(cropped_grid), normed_block_order=lambda config: int(config.downsample_factor)
    ),
    leading_norm="layernorm",
)

COHERE2_VISION = Family(
    model_types=("cohere2_vision",),
    connector="pixel shuffle + gated mlp",
    modules=("model.multi_modal_projector",),
    place=tiles(thumbnail_last(cropped_grid)),
)

FAMILIES = (AYA_VISION, COHERE2_VISION)
