"""Qwen-VL and GLM-V: pictures of any size in one sequence, blocks of patches merged."""

from __future__ import annotations

from typing import Any

import transformers as hf

from tests.tiny_vlms.parts import (
    MAJOR,
    PATCH,
    TEXT,
    VISION,
    Built,
    decoder,
    encoder,
    template,
    token_id,
    tokenizer,
)


def qwen_parts(patch: int) -> tuple[Any, dict[str, int], Any]:
    names = {"image_token": "image_pad", "video_token": "video_pad"}
    names |= {"vision_start_token": "vision_start", "vision_end_token": "vision_end"}
    tok = tokenizer(kind="Qwen2", **{role: f"<|{name}|>" for role, name in names.items()})
    ids = {f"{role}_id": token_id(tok, f"<|{name}|>") for role, name in names.items()}
    least, most = 56 * 56, 112 * 112
    size = {"size": {"shortest_edge": least, "longest_edge": most}}
    older = {"min_pixels": least, "max_pixels": most}
    images = hf.Qwen2VLImageProcessor(**(size if MAJOR >= 5 else older), patch_size=patch, merge_size=2)
    return tok, ids, images


QWEN_TEMPLATE = template("<|vision_start|><|image_pad|><|vision_end|>")


def rope(**more: Any) -> dict[str, Any]:
    name = "rope_parameters" if MAJOR >= 5 else "rope_scaling"
    return {name: {"rope_type": "default", "mrope_section": [2, 2, 2], "rope_theta": 10000.0, **more}}


def qwen2_vl() -> Built:
    tok, ids, images = qwen_parts(PATCH)
    vision = {"depth": 2, "embed_dim": VISION, "hidden_size": TEXT, "num_heads": 2, "mlp_ratio": 2}
    config = hf.Qwen2VLConfig(
        vision_config={**vision, "patch_size": PATCH},
        text_config=decoder(**rope()),
        **ids,
    )
    videos = hf.Qwen2VLVideoProcessor(patch_size=PATCH)
    processor = hf.Qwen2VLProcessor(images, tok, videos, chat_template=QWEN_TEMPLATE)
    return hf.Qwen2VLForConditionalGeneration(config), processor


QWEN_VISION = {"hidden_size": VISION, "intermediate_size": 64, "out_hidden_size": TEXT, "num_heads": 2}


def qwen2_5_vl() -> Built:
    tok, ids, images = qwen_parts(PATCH)
    vision = {**QWEN_VISION, "depth": 2, "patch_size": PATCH, "window_size": 56, "fullatt_block_indexes": [1]}
    config = hf.Qwen2_5_VLConfig(vision_config=vision, text_config=decoder(**rope()), **ids)
    videos = hf.Qwen2VLVideoProcessor(patch_size=PATCH)
    processor = hf.Qwen2_5_VLProcessor(images, tok, videos, chat_template=QWEN_TEMPLATE)
    return hf.Qwen2_5_VLForConditionalGeneration(config), processor


QWEN3_VISION = {**QWEN_VISION, "depth": 3, "patch_size": 16, "num_position_embeddings": 64}
DEEPSTACK = {**QWEN3_VISION, "deepstack_visual_indexes": [0, 1]}
EXPERTS = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 32}


def qwen3_text(**more: Any) -> dict[str, Any]:
    return decoder(head_dim=12, **rope(mrope_interleaved=True), **more)


def qwen3_vl() -> Built:
    tok, ids, images = qwen_parts(16)
    config = hf.Qwen3VLConfig(vision_config=DEEPSTACK, text_config=qwen3_text(), **ids)
    videos = hf.Qwen3VLVideoProcessor(patch_size=16)
    processor = hf.Qwen3VLProcessor(images, tok, videos, chat_template=QWEN_TEMPLATE)
    return hf.Qwen3VLForConditionalGeneration(config), processor


def qwen3_vl_moe() -> Built:
    _, ids, images = qwen_parts(16)
    config = hf.Qwen3VLMoeConfig(vision_config=DEEPSTACK, text_config=qwen3_text(**EXPERTS), **ids)
    return hf.Qwen3VLMoeForConditionalGeneration(config), images


def qwen3_5_text(**more: Any) -> dict[str, Any]:
    linear = {"linear_num_key_heads": 2, "linear_num_value_heads": 2}
    linear |= {"linear_key_head_dim": 12, "linear_value_head_dim": 12}
    return qwen3_text(layer_types=["linear_attention", "full_attention"], **linear, **more)


def qwen3_5() -> Built:
    _, ids, images = qwen_parts(16)
    config = hf.Qwen3_5Config(vision_config=QWEN3_VISION, text_config=qwen3_5_text(), **ids)
    return hf.Qwen3_5ForConditionalGeneration(config), images


def qwen3_5_moe() -> Built:
    _, ids, images = qwen_parts(16)
    text = qwen3_5_text(**EXPERTS, shared_expert_intermediate_size=32)
    config = hf.Qwen3_5MoeConfig(vision_config=QWEN3_VISION, text_config=text, **ids)
    return hf.Qwen3_5MoeForConditionalGeneration(config), images


GLM_VISION = {**encoder(112), "depth": 2, "num_heads": 2, "out_hidden_size": TEXT}
GLM_SIZE = {"shortest_edge": 56 * 56, "longest_edge": 112 * 112 * 2}


def glm_text(**more: Any) -> dict[str, Any]:
    return decoder(**rope(), head_dim=12, **more)


def glm4v() -> Built:
    config = hf.Glm4vConfig(vision_config=GLM_VISION, text_config=glm_text())
    return hf.Glm4vForConditionalGeneration(config), hf.Glm4vImageProcessor(size=GLM_SIZE, patch_size=PATCH)


def glm4v_moe() -> Built:
    experts = {"n_routed_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 32, "n_group": 1}
    config = hf.Glm4vMoeConfig(vision_config=GLM_VISION, text_config=glm_text(**experts, topk_group=1))
    return hf.Glm4vMoeForConditionalGeneration(config), hf.Glm4vImageProcessor(
        size=GLM_SIZE, patch_size=PATCH
    )


def glm46v() -> Built:
    config = hf.Glm46VConfig(vision_config=GLM_VISION, text_config=glm_text())
    return hf.Glm46VForConditionalGeneration(config), hf.Glm46VImageProcessor(size=GLM_SIZE, patch_size=PATCH)
