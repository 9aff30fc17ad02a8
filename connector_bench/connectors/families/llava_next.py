"""LLaVA-NeXT and LLaVA-OneVision: the whole picture, then the tiles of a padded enlargement."""

from connector_bench.connectors.anyres import place_anyres
from connector_bench.connectors.family import Family

LLAVA_NEXT = Family(
    model_types=("llava_next",),
    connector="mlp",
    modules=("model.multi_modal_projector",),
    place=place_anyres,
    dropped="CLS (before the connector); tokens of the padding, which the model removes after it",
    note="newline tokens are added after the connector and are not measured",
)

LLAVA_ONEVISION = Family(
    model_types=("llava_onevision",),
    connector="mlp",
    modules=("model.multi_modal_projector",),
    place=place_anyres,
    dropped="tokens of the padding, which the model removes after the connector",
    note="pictures of many tiles are shrunk after the connector; the connector's own output is measured",
)

FAMILIES = (LLAVA_NEXT, LLAVA_ONEVISION)
