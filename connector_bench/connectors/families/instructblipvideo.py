"""InstructBLIP for videos, which takes a picture as a video of one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connector_bench.connectors.families.blip import INSTRUCTBLIP


def _run(model: Any, inputs: Mapping[str, Any]) -> Any:
    names = ("pixel_values", "qformer_input_ids", "qformer_attention_mask")
    return model.get_video_features(**{name: inputs[name] for name in names})


INSTRUCTBLIPVIDEO = replace(
    INSTRUCTBLIP,
    model_types=("instructblipvideo",),
    run=_run,
    nested=True,
    note=f"{INSTRUCTBLIP.note}; a picture is a video of one frame",
)

FAMILIES = (INSTRUCTBLIPVIDEO,)
