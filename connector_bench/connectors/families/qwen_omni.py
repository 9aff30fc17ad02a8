"""Qwen-Omni: Qwen-VL's towers and mergers inside the part that reads (the thinker), alone or within the whole model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connector_bench.connectors.families.qwen import QWEN2_5_VL, QWEN3_VL
from connector_bench.connectors.family import Batch, Family, Place, Placement
from connector_bench.connectors.transformers_adapter import get_image_features

QWEN2_5_THINKER = replace(QWEN2_5_VL, model_types=("qwen2_5_omni_thinker",))

QWEN3_THINKER = replace(
    QWEN3_VL,
    model_types=("qwen3_omni_moe_thinker",),
    parallel=("model.visual.merger_list.*",),
    leading_norm="ln_q",
)


def _run(model: Any, inputs: Mapping[str, Any]) -> Any:
    return get_image_features(model.thinker, inputs)


def _inside(place: Place) -> Place:
    """The thinker's layout, by its part of the whole model's configuration."""

    def placed(batch: Batch) -> list[Placement]:
        return place(replace(batch, config=batch.config.thinker_config))

    return placed


def _whole(family: Family, model_type: str) -> Family:
    return replace(
        family,
        model_types=(model_type,),
        modules=tuple(f"thinker.{path}" for path in family.modules),
        parallel=tuple(f"thinker.{path}" for path in family.parallel),
        place=_inside(family.place),
        run=_run,
    )


FAMILIES = (
    QWEN2_5_THINKER,
    _whole(QWEN2_5_THINKER, "qwen2_5_omni"),
    QWEN3_THINKER,
    _whole(QWEN3_THINKER, "qwen3_omni_moe"),
)
