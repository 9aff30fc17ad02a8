"""Qwen-VL: pictures of any size packed in one sequence, blocks of 2x2 patches merged by a perceptron."""

from dataclasses import replace
from typing import Any

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import by_grid_thw


def _window(vision: Any) -> int:
    """Side of an attention window in merged cells."""
    return int(vision.window_size) // int(vision.spatial_merge_size) // int(vision.patch_size)


QWEN2_VL = Family(
    model_types=("qwen2_vl",),
    connector="patch merger",
    modules=("model.visual.merger",),
    place=by_grid_thw(),
    leading_norm="ln_q",
)

QWEN2_5_VL = Family(
    model_types=("qwen2_5_vl",),
    connector="patch merger",
    modules=("model.visual.merger",),
    place=by_grid_thw(window=_window),
    leading_norm="ln_q",
    note="the merger runs in window order; both taps are put back in raster order",
)

QWEN3_VL = Family(
    model_types=("qwen3_vl", "qwen3_vl_moe"),
    connector="patch merger",
    modules=("model.visual.merger",),
    parallel=("model.visual.deepstack_merger_list.*",),
    place=by_grid_thw(),
    leading_norm="norm",
    note="the main merger's tokens, then those of each deepstack merger, concatenated on the last dimension",
)

QWEN3_5 = Family(
    model_types=("qwen3_5", "qwen3_5_moe"),
    connector="patch merger",
    modules=("model.visual.merger",),
    place=by_grid_thw(),
    leading_norm="norm",
)

COHERE_COMPASS = replace(QWEN3_VL, model_types=("cohere_compass",))
"""A merger and deepstack mergers of the same design."""

EXAONE4_5 = replace(QWEN2_5_VL, model_types=("exaone4_5",))
"""The tower with grouped queries, merged in window order by the same patch merger."""

QWEN4_EXP = replace(QWEN3_5, model_types=("qwen4_exp",))
"""The same tower and patch merger before another language model."""

FAMILIES = (QWEN2_VL, QWEN2_5_VL, QWEN3_VL, QWEN3_5, COHERE_COMPASS, EXAONE4_5, QWEN4_EXP)
