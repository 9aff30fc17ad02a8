"""LFM2-VL: SigLIP2 in native resolution; the connector, pixel shuffle inside, is called once a tile."""

from dataclasses import replace
from typing import Any

from packaging.version import Version

from connector_bench.connectors.family import Family
from connector_bench.connectors.tilings import TRANSFORMERS, place_lfm2


def has_norm(config: Any) -> bool:
    """Whether the connector begins with a norm: always, before transformers 5 could leave it out."""
    return bool(getattr(config, "projector_use_layernorm", True))


MIXES_TILES = Version("5.2") > TRANSFORMERS
"""Whether the image processor of this transformers swaps tiles between the pictures of a batch."""

PLAIN = Family(
    model_types=("lfm2_vl", "lfm2-vl"),
    connector="pixel shuffle + mlp",
    modules=("model.multi_modal_projector",),
    place=place_lfm2,
    options={"return_row_col_info": True},
    dropped="padding",
    one_at_a_time=MIXES_TILES,
    when=lambda config: not has_norm(config),
)

WITH_NORM = replace(PLAIN, leading_norm="layer_norm", when=has_norm)

FAMILIES = (PLAIN, WITH_NORM)
