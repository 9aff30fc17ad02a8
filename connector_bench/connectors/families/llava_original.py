"""LLaVA's own format (the `llava` package, LLaVA-NeXT's too): a projector behind a selected layer of the tower."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from connector_bench.connectors.anyres import all_kept, best_canvas, place_anyres, unpadded_unrounded
from connector_bench.connectors.base import UnsupportedModel
from connector_bench.connectors.boxes import centred, fitted
from connector_bench.connectors.family import Batch, Family, PictureSize, Placement
from connector_bench.connectors.places import stacked

ASPECTS = ("square", "pad", "anyres")
"""Values of `image_aspect_ratio` whose tiles are known; `anyres_max_9` and the like count as `anyres`."""


def _place(batch: Batch) -> list[Placement]:
    aspect = str(getattr(batch.config, "image_aspect_ratio", None) or "square")
    if aspect.split("_max_")[0] not in ASPECTS:
        raise ValueError(f"image_aspect_ratio is {aspect!r}; allowed are {', '.join(ASPECTS)}")
    if aspect.startswith("anyres"):
        merge = str(getattr(batch.config, "mm_patch_merge_type", "flat"))
        return place_anyres(batch, _canvas, unpadded_unrounded if "unpad" in merge else all_kept)
    padded = aspect == "pad"
    boxes = [
        [centred(size, (max(size), max(size))) if padded else fitted(batch, size)] for size in batch.sizes
    ]
    leading = int(getattr(batch.config, "mm_vision_select_feature", "patch") == "cls_patch")
    return stacked(batch, boxes, skip_pre=leading, skip_post=leading)


def _canvas(batch: Batch, size: PictureSize) -> tuple[PictureSize, int]:
    """The best of the configuration's canvases, which it writes width first, in pixels or as a range of tiles."""
    tile = int(batch.inputs["images"][0].shape[-1])
    declared = batch.config.image_grid_pinpoints
    if isinstance(declared, str) and "x" in declared:
        ends = [(int(width), int(height)) for width, height in re.findall(r"\((\d+)x(\d+)\)", declared)]
        (left, low), (right, high) = ends[0], ends[-1]
        pinpoints = [(w * tile, h * tile) for w in range(left, right + 1) for h in range(low, high + 1)]
    else:
        pinpoints = ast.literal_eval(declared) if isinstance(declared, str) else declared
    return best_canvas(size, [(int(height), int(width)) for width, height in pinpoints]), tile


def _encode_images(model: Any, inputs: Mapping[str, Any]) -> Any:
    """All tiles of all pictures through the model's own `encode_images`, as it does itself before the language model.

    Raises:
        UnsupportedModel: the inputs are not those of LLaVA's own `process_images`.
    """
    import torch

    if "images" not in inputs:
        raise UnsupportedModel(
            f"A {type(model).__name__} takes what LLaVA's process_images makes of a picture, under the name images; "
            f"it was given {', '.join(inputs)}."
        )
    stacks = [one if one.ndim == 4 else one[None] for one in inputs["images"]]
    return model.encode_images(torch.cat(stacks))


LLAVA_ORIGINAL = Family(
    model_types=("llava_llama", "llava_mistral", "llava_qwen"),
    connector="mlp",
    modules=("model.mm_projector",),
    place=_place,
    run=_encode_images,
    dropped="CLS; tokens of the canvas's padding where the model removes them after the connector",
    note="newline tokens, and the shrinking of pictures of many tiles, come after the connector and are not measured",
    # VILA's type is the same, its modules are not
    when=lambda config: not hasattr(config, "mm_projector_cfg"),
)

FAMILIES = (LLAVA_ORIGINAL,)
