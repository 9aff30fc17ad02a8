"""DeepSeek-VL and Janus: a perceptron (`aligner`) over SigLIP's patches of a picture padded to a square."""

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import grid

DEEPSEEK = Family(
    model_types=("deepseek_vl", "janus"),
    connector="mlp",
    modules=("model.aligner",),
    place=grid(),
    note="patches of the square's padding are measured: the language model receives them",
)

FAMILIES = (DEEPSEEK,)
