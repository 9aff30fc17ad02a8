"""PaliGemma: one linear layer over SigLIP's patches. Gemma 3: average pooling, a norm, one linear layer."""

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import grid

PALIGEMMA = Family(
    model_types=("paligemma",),
    connector="linear",
    modules=("model.multi_modal_projector",),
    place=grid(),
)

GEMMA3 = Family(
    model_types=("gemma3",),
    connector="average pool + linear",
    modules=("model.multi_modal_projector",),
    place=grid(),
    note="the norm comes after the pooling, so there is no tap behind a leading norm",
)

FAMILIES = (PALIGEMMA, GEMMA3)
