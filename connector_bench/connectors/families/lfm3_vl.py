"""LFM3-VL: packed patches of a hybrid tower, a norm, blocks of 2x2 merged by a perceptron."""

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import by_grid_thw

LFM3_VL = Family(
    model_types=("lfm3_vl",),
    connector="patch merger",
    modules=("model.multi_modal_projector",),
    place=by_grid_thw(),
    leading_norm="layer_norm",
)

FAMILIES = (LFM3_VL,)
