"""GLM-4.1V and its relatives: a 2x2 convolution and a gated perceptron over packed patches."""

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import by_grid_thw

GLM4V = Family(
    model_types=("glm4v", "glm4v_moe", "glm46v"),
    connector="patch merger",
    modules=("model.visual.downsample", "model.visual.merger"),
    place=by_grid_thw(),
    channels_first=True,
)

FAMILIES = (GLM4V,)
