"""DeepSeek-VL with two towers: SigLIP's patches and SAM's feature map side by side, joined by a perceptron."""

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import grid

DEEPSEEK_VL_HYBRID = Family(
    model_types=("deepseek_vl_hybrid",),
    connector="mlp over two towers",
    modules=("model.aligner",),
    joined=True,
    place=grid(),
    note="pre is a patch's token of both towers; SAM's neck and strided convolutions lie before it, not measured; "
    "patches of the square's padding are measured: the language model receives them",
)

FAMILIES = (DEEPSEEK_VL_HYBRID,)
