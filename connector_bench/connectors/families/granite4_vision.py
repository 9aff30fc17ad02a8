"""Granite 4 Vision: windows of patches read by few queries each, for several layers of tower and language model."""

from connector_bench.connectors.anyres import place_anyres
from connector_bench.connectors.family import Family

GRANITE4_VISION = Family(
    model_types=("granite4_vision",),
    connector="windowed q-former",
    modules=("model.layerwise_projectors.0",),
    parallel=("model.layerwise_projectors.*", "model.spatial_projectors.*"),
    place=place_anyres,
    leading_norm="norm",
    dropped="CLS (before the connector); tokens of the padding, which the model removes after it",
    note="tokens of all projectors, each for another layer of the language model, concatenated on the last dimension; "
    "newline tokens are added after the connector and are not measured",
)

FAMILIES = (GRANITE4_VISION,)
