"""Muse Spark and Muse Glimmer: packed patches in raster order, a pixel shuffle in the tower, a perceptron, a norm."""

from __future__ import annotations

from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.connectors.layouts import packed
from connector_bench.connectors.places import packed_grids


def _place(batch: Batch) -> list[Placement]:
    return packed(packed_grids(batch), int(batch.config.vision_config.merge_size))


MUSE = Family(
    model_types=("muse_spark", "muse_glimmer"),
    connector="pixel shuffle + mlp",
    modules=("model.vision_adapter", "model.vision_projection", "model.perception_emb_norm"),
    pre_output_of="model.vision_tower.ln_post",
    place=_place,
    note="the pixel shuffle at the end of the tower is measured with the module; the norm behind it has no weights",
)

FAMILIES = (MUSE,)
