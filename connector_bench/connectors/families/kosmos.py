"""KOSMOS-2 and 2.5: patches of unit length, and queries that attend to them once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.connectors.places import grid
from connector_bench.types import Tile, TokenLayout

PROJECTION = "image_to_text_projection"


def _run(model: Any, inputs: Mapping[str, Any]) -> Any:
    vision = model.vision_model
    states = vision.model.post_layernorm(vision(pixel_values=inputs["pixel_values"])[0])
    return _project(model, states)


def _run_2_5(model: Any, inputs: Mapping[str, Any]) -> Any:
    return _project(model, model.vision_model(flattened_patches=inputs["flattened_patches"])[0])


def _project(model: Any, states: Any) -> Any:
    from torch.nn import functional

    return model.get_submodule(PROJECTION)(functional.normalize(states, dim=-1))


def _place_2_5(batch: Batch) -> list[Placement]:
    """Rows of patches of the resized picture, then padding."""
    padded, queries = batch.pre_shapes[0][1], batch.post_shapes[0][1]
    placements = []
    for number, (rows, columns) in enumerate(zip(batch.inputs["rows"], batch.inputs["cols"], strict=True)):
        layout = TokenLayout((Tile((int(rows), int(columns)), None),), queries)
        pre = number * padded + np.arange(layout.n_pre)
        placements.append(Placement(layout, pre, number * queries + np.arange(queries)))
    return placements


KOSMOS2 = Family(
    model_types=("kosmos-2",),
    connector="resampler",
    modules=(PROJECTION,),
    place=grid(skip_pre=1, resampler=True),
    run=_run,
    resamples=True,
    dropped="CLS, which the queries do attend to",
)

KOSMOS2_5 = Family(
    model_types=("kosmos-2.5",),
    connector="resampler",
    modules=(PROJECTION,),
    place=_place_2_5,
    run=_run_2_5,
    resamples=True,
    dropped="padding, which the queries do attend to",
)

FAMILIES = (KOSMOS2, KOSMOS2_5)
