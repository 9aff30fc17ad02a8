"""Video-LLaVA and LLaVA-NeXT-Video, of which the way of a picture is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connector_bench.connectors.families.llava_next import LLAVA_NEXT
from connector_bench.connectors.family import Family
from connector_bench.connectors.places import grid

PICTURES_ONLY = "the way of a picture is measured; that of a video"

LLAVA_NEXT_VIDEO = replace(
    LLAVA_NEXT,
    model_types=("llava_next_video",),
    note=f"{LLAVA_NEXT.note}; {PICTURES_ONLY} is pooled before the same module",
)


def _run(model: Any, inputs: Mapping[str, Any]) -> Any:
    """The method names the pictures otherwise than their processor does."""
    inner = getattr(model, "model", model)
    return inner.get_image_features(inputs["pixel_values_images"])


VIDEO_LLAVA = Family(
    model_types=("video_llava",),
    connector="mlp",
    modules=("model.multi_modal_projector",),
    place=grid(),
    run=_run,
    dropped="CLS (before the connector)",
    note=f"{PICTURES_ONLY} has a tower of its own and the same module",
)

FAMILIES = (LLAVA_NEXT_VIDEO, VIDEO_LLAVA)
