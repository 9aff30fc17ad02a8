"""Models that hold Gemma's vision half inside another: T5Gemma 2, ShieldGemma 2 and pi0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connector_bench.connectors.boxes import side
from connector_bench.connectors.families.gemma import GEMMA3, PALIGEMMA
from connector_bench.connectors.family import Batch, PictureSize, Placement
from connector_bench.connectors.places import stacked
from connector_bench.types import WHOLE_PICTURE, Box


def _run_encoder(model: Any, inputs: Mapping[str, Any]) -> Any:
    return model.get_encoder().get_image_features(inputs["pixel_values"])


T5GEMMA2 = replace(
    GEMMA3,
    model_types=("t5gemma2",),
    modules=("model.encoder.multi_modal_projector",),
    run=_run_encoder,
)

SHIELDGEMMA2 = replace(
    GEMMA3,
    model_types=("shieldgemma2",),
    modules=("model.model.multi_modal_projector",),
    image_processor_alone=True,
)


def _run_backbone(model: Any, inputs: Mapping[str, Any]) -> Any:
    return getattr(model, "model", model).vlm.get_image_features(inputs["pixel_values"])


def _padded(batch: Batch, size: PictureSize) -> Box:
    """A picture keeps its shape and is padded at the right and below, where the processor is set so."""
    target, canvas = batch.option("size"), batch.option("pad_size")
    height, width = side(target, "max_height"), side(target, "max_width")
    if height is None or width is None or not batch.option("do_pad", True):
        return WHOLE_PICTURE
    scale = min(height / size[0], width / size[1])
    shown = int(size[0] * scale), int(size[1] * scale)
    padded = side(canvas, "height") or height, side(canvas, "width") or width
    return 0.0, 0.0, padded[1] / shown[1], padded[0] / shown[0]


def _place(batch: Batch) -> list[Placement]:
    return stacked(batch, [[_padded(batch, size)] for size in batch.sizes])


PI0 = replace(
    PALIGEMMA,
    model_types=("pi0",),
    modules=("model.vlm.multi_modal_projector",),
    run=_run_backbone,
    place=_place,
    note="patches of the square's padding are measured: the language model receives them; each camera is a picture",
)

FAMILIES = (T5GEMMA2, SHIELDGEMMA2, PI0)
