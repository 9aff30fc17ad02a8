"""Mistral Small 3.1 and later: Pixtral's packed patches, a norm, then blocks of 2x2 merged."""

from dataclasses import replace

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import by_image_sizes

MISTRAL3 = Family(
    model_types=("mistral3",),
    connector="patch merger",
    modules=("model.multi_modal_projector",),
    place=by_image_sizes(merge=lambda config: int(config.spatial_merge_size)),
    leading_norm="norm",
    dropped="an odd last row or column of patches has no token after the connector",
)

MISTRAL_LARGE4 = replace(MISTRAL3, model_types=("mistral_large4",))

LIGHTON_OCR = replace(MISTRAL3, model_types=("lighton_ocr",), modules=("model.vision_projection",))

FAMILIES = (MISTRAL3, MISTRAL_LARGE4, LIGHTON_OCR)
