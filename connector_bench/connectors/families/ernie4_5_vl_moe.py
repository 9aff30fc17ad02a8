"""ERNIE 4.5 VL: packed patches, blocks of 2x2 merged by one perceptron and pairs of frames by a second."""

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import by_grid_thw

ERNIE4_5_VL_MOE = Family(
    model_types=("ernie4_5_vl_moe",),
    connector="patch merger",
    modules=("model.resampler_model",),
    place=by_grid_thw(),
    note="the perceptron over pairs of frames takes a picture twice",
)

FAMILIES = (ERNIE4_5_VL_MOE,)
