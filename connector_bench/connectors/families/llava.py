"""LLaVA-1.5 and its relatives: a two-layer perceptron over CLIP's or SigLIP's patches, one token a patch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import by_image_sizes, grid

LLAVA = Family(
    model_types=("llava",),
    connector="mlp",
    modules=("model.multi_modal_projector",),
    place=grid(),
    dropped="CLS (before the connector)",
    when=lambda config: config.vision_config.model_type != "pixtral",
)


def _with_sizes(model: Any, inputs: Mapping[str, Any]) -> None:
    """Sizes are given although transformers before 5.18 hides the argument: without it padding is read as picture."""
    inner = getattr(model, "model", model)
    inner.get_image_features(inputs["pixel_values"], image_sizes=inputs["image_sizes"])


PIXTRAL = Family(
    model_types=("llava",),
    connector="mlp",
    modules=("model.multi_modal_projector",),
    place=by_image_sizes(),
    run=_with_sizes,
    note="pictures of unequal size are packed in one sequence",
    when=lambda config: config.vision_config.model_type == "pixtral",
)

VIPLLAVA = Family(
    model_types=("vipllava",),
    connector="mlp",
    modules=("model.multi_modal_projector",),
    place=grid(),
    leading_norm="projector_layernorm",
    dropped="CLS (before the connector)",
    note="five layers of the tower, concatenated",
)

FAMILIES = (LLAVA, PIXTRAL, VIPLLAVA)
