"""MiniMax-M3-VL: a perceptron over each packed patch, then a second one over blocks of 2x2."""

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import by_grid_thw

MINIMAX_M3_VL = Family(
    model_types=("minimax_m3_vl",),
    connector="mlp + patch merger",
    modules=("model.multi_modal_projector",),
    place=by_grid_thw(),
)

FAMILIES = (MINIMAX_M3_VL,)
