"""Florence-2: positions are added to DaViT's feature map, then one linear layer and a norm."""

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import grid

FLORENCE2 = Family(
    model_types=("florence2",),
    connector="linear",
    modules=("model.multi_modal_projector",),
    place=grid(skip_post=1),
    channels_first=True,
    note="the connector's first token, the mean of all places, has no place and is left out of post",
)

FAMILIES = (FLORENCE2,)
