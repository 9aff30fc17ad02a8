"""A small model of any class of transformers, from its default configuration made small; for families nobody declared.

The language model never runs. What a configuration ties together (heads and widths, layers and lists of layers) is told
by names that authors share, so a class whose configuration is unlike the others cannot be built: `CannotBuild`.
"""

from __future__ import annotations

import re
from typing import Any

import transformers as hf
from transformers.models.auto import configuration_auto, image_processing_auto, modeling_auto

from tests.tiny_vlms.parts import Built

WIDTH, HEADS, LAYERS, GRID = 64, 4, 2, 8
"""Of tower and language model alike; `GRID` patches along a side of the tower's own size of picture."""


class CannotBuild(Exception):
    """The recipe makes no model of this class."""


NUMBERS: tuple[tuple[str, int], ...] = (
    (r"kv_shared", 0),
    (r"intermediate|ffn|inner_dim|mlp_dim|expert_hidden", 2 * WIDTH),
    (r"(num|n)_(key_value|kv)_heads|key_value_heads$", HEADS),
    (r"heads$|^n_head$|attn_heads", HEADS),
    (r"head_dim$|head_size$|_rope_dim|kv_lora|q_lora|_head_dim", WIDTH // HEADS),
    (r"(layers|depth|blocks|n_layer)$", LAYERS),
    (r"(hidden_size|embed_dim|d_model|hidden_dim|embedding_dim|width|n_embd|hidden_sizes|projection_dim|out_dim|"
     r"embedding_size|hidden_channels|output_dim|input_dim)$", WIDTH),
    (r"top_k_experts|experts_per_tok|moe_topk|moe_k$|topk_group|n_group$", 1),
    (r"(^|_)n(um)?_(local_|routed_|shared_)?experts$|moe_num_experts", 2),
    (r"vocab_size", 512),
)  # fmt: skip
LISTS_OF_LAYERS = re.compile(r"indexes|indices|layer_ids|_layers$|layer_idx")


def build(model_type: str) -> Built:
    """Model of a type's class for images and text, and its image processor.

    Raises:
        CannotBuild: saying at what it failed.
    """
    model, config = build_model(model_type)
    try:
        return model, _image_processor(model_type, config)
    except Exception as error:
        raise CannotBuild(_said(error)) from error


def build_model(model_type: str) -> tuple[Any, Any]:
    """The model and its configuration. Raises `CannotBuild` as `build`."""
    try:
        config = small(_config(model_type))
        return _class(model_type)(config), config
    except Exception as error:
        raise CannotBuild(_said(error)) from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _config(model_type: str) -> Any:
    return getattr(hf, configuration_auto.CONFIG_MAPPING_NAMES[model_type])()


def _class(model_type: str) -> Any:
    for names in (
        modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        getattr(modeling_auto, "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES", {}),
        modeling_auto.MODEL_MAPPING_NAMES,
    ):
        if model_type in names:
            name = names[model_type]
            return getattr(hf, name if isinstance(name, str) else name[0])
    raise CannotBuild(f"no class of {model_type} is registered")


def small(config: Any) -> Any:
    """The configuration, and those inside it, with small numbers; changed where it is."""
    for name, value in list(vars(config).items()):
        if hasattr(value, "to_dict") and hasattr(value, "model_type"):
            small(value)
        elif isinstance(value, bool) or name.startswith("_"):
            continue
        elif isinstance(value, int):
            for pattern, number in NUMBERS:
                if re.search(pattern, name):
                    setattr(config, name, number)
                    break
            else:
                if name.endswith("token_id") or name.endswith("token_index"):
                    setattr(config, name, min(value, 511))
        elif isinstance(value, list) and name == "layer_types":
            setattr(
                config, name, value[:LAYERS] if len(set(value)) == 1 else (value[: LAYERS - 1] + value[-1:])
            )
        elif (
            isinstance(value, list)
            and LISTS_OF_LAYERS.search(name)
            and all(isinstance(v, int) for v in value)
        ):
            setattr(config, name, [0] if value else [])
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    if isinstance(rope, dict) and "mrope_section" in rope:
        rope["mrope_section"] = [2, 3, 3]
    patch = getattr(config, "patch_size", None)
    if isinstance(patch, int) and isinstance(getattr(config, "image_size", None), int):
        config.image_size = patch * GRID
    return config


def vision_of(config: Any) -> Any:
    """The configuration of the vision tower, however deep it lies."""
    inside = [
        value for value in vars(config).values() if hasattr(value, "to_dict") and hasattr(value, "model_type")
    ]
    for one in (getattr(config, "vision_config", None), config, *inside):
        if one is not None and getattr(one, "patch_size", None) is not None:
            return one
    return next(
        (found for one in inside if (found := vision_of(one)) is not one or hasattr(one, "patch_size")),
        config,
    )


def _image_processor(model_type: str, config: Any) -> Any:
    names = image_processing_auto.IMAGE_PROCESSOR_MAPPING_NAMES.get(model_type.removesuffix("_thinker"))
    if names is None:
        raise CannotBuild(f"no image processor of {model_type} is registered")
    known = list(names.values()) if isinstance(names, dict) else [name for name in names if name]
    kind = next(getattr(hf, name) for name in known if isinstance(name, str) and hasattr(hf, name))
    vision, default = vision_of(config), kind()
    told = {
        "patch_size": "patch_size",
        "merge_size": "spatial_merge_size",
        "temporal_patch_size": "temporal_patch_size",
    }
    settings = {
        ours: getattr(vision, theirs)
        for ours, theirs in told.items()
        if isinstance(getattr(default, ours, None), int) and isinstance(getattr(vision, theirs, None), int)
    }
    return kind(**settings, **_sizes(default, getattr(vision, "image_size", None)))


def _sizes(default: Any, side: Any) -> dict[str, Any]:
    """`size`, and what goes with it, for pictures of the tower's side, in the terms of the processor's own default."""
    size = dict(getattr(default, "size", None) or {})
    size = {name: value for name, value in size.items() if value is not None}
    if isinstance(side, (list, tuple)):
        side = side[0]
    if {"shortest_edge", "longest_edge"} <= set(size) and size[
        "longest_edge"
    ] > 9000:  # areas, by Qwen's habit
        return {"size": {"shortest_edge": 56 * 56, "longest_edge": 196 * 196}}
    if not isinstance(side, int) or not size:
        return {}
    found: dict[str, Any] = {"size": dict.fromkeys(size, side)}
    if getattr(default, "crop_size", None):
        found["crop_size"] = {"height": side, "width": side}
    return found
