"""Llama 4: padded tiles and a global one; the connector is the vision adapter *and* the projector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import tiles
from connector_bench.connectors.tilings import llama4_boxes


def _run(model: Any, inputs: Mapping[str, Any]) -> None:
    """The tower's pass ends before the projector, which is called as the model's own `forward` does.

    `get_image_features` would call the same tower, with other arguments and results in each version of transformers.
    """
    vision = model.vision_model(inputs["pixel_values"])
    model.multi_modal_projector(vision.last_hidden_state)


LLAMA4 = Family(
    model_types=("llama4",),
    connector="pixel shuffle + mlp",
    modules=("vision_model.vision_adapter", "multi_modal_projector"),
    place=tiles(llama4_boxes),
    run=_run,
    dropped="CLS (before the connector)",
)

FAMILIES = (LLAMA4,)
