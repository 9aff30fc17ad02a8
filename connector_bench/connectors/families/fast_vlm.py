"""FastVLM: a perceptron over the flattened feature map of a hybrid convolutional tower."""

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import grid

FAST_VLM = Family(
    model_types=("fast_vlm",),
    connector="mlp",
    modules=("model.multi_modal_projector",),
    place=grid(),
)

FAMILIES = (FAST_VLM,)
