"""Families that came with transformers 5 whose pictures of any size are packed and merged block by block."""

from __future__ import annotations

from typing import Any

import transformers as hf

from tests.tiny_vlms.packed import EXPERTS, GLM_SIZE, QWEN3_VISION, QWEN_VISION, glm_text, qwen_parts, rope
from tests.tiny_vlms.parts import PATCH, TEXT, VISION, Built, decoder, encoder

WINDOWED = {**QWEN_VISION, "depth": 2, "patch_size": PATCH, "window_size": 56, "fullatt_block_indexes": [1]}
GLM_TOWER = {"depth": 2, "hidden_size": VISION, "intermediate_size": 64, "num_heads": 2}
GLM_TOWER |= {"image_size": 112, "patch_size": PATCH, "out_hidden_size": TEXT}
PIXELS = {"shortest_edge": 56 * 56, "longest_edge": 112 * 112 * 2}


def glm_ocr() -> Built:
    config = hf.GlmOcrConfig(vision_config=GLM_TOWER, text_config=glm_text())
    images = hf.Glm46VImageProcessor(size=GLM_SIZE, patch_size=PATCH)
    return hf.GlmOcrForConditionalGeneration(config), images


def glm5_next() -> Built:
    text = decoder(
        moe_intermediate_size=32,
        n_routed_experts=2,
        num_experts_per_tok=1,
        kv_lora_rank=16,
        q_lora_rank=16,
        qk_nope_head_dim=12,
        v_head_dim=12,
        num_key_value_heads=4,
        linear_head_dim=12,
        linear_num_heads=4,
        index_head_dim=12,
        index_n_heads=2,
        hc_mult=2,
    )
    vision = {**GLM_TOWER, "projection_intermediate_size": 64}
    config = hf.Glm5NextConfig(vision_config=vision, text_config=text)
    images = hf.Glm5NextImageProcessor(patch_size=PATCH, min_image_tokens=4, max_image_tokens=32)
    return hf.Glm5NextForConditionalGeneration(config), images


AUDIO = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16}
AUDIO |= {"num_mel_bins": 8, "output_dim": TEXT}


def qwen2_5_omni() -> Built:
    """The whole model without its voice; its thinker alone is `model.thinker`."""
    _, _, images = qwen_parts(PATCH)
    thinker = {"vision_config": WINDOWED, "text_config": decoder(**rope()), "audio_config": AUDIO}
    config = hf.Qwen2_5OmniConfig(thinker_config=thinker, enable_audio_output=False)
    return hf.Qwen2_5OmniForConditionalGeneration(config), images


def qwen3_omni_moe() -> Built:
    """The whole model without its voice; its thinker alone is `model.thinker`."""
    _, _, images = qwen_parts(16)
    vision = {**QWEN3_VISION, "deepstack_visual_indexes": [0, 1]}
    text = decoder(head_dim=12, **rope(mrope_interleaved=True), **EXPERTS)
    audio = {**AUDIO, "downsample_hidden_size": 8}
    thinker = {"vision_config": vision, "text_config": text, "audio_config": audio}
    config = hf.Qwen3OmniMoeConfig(thinker_config=thinker, enable_audio_output=False)
    return hf.Qwen3OmniMoeForConditionalGeneration(config), images


def exaone4_5() -> Built:
    _, _, images = qwen_parts(PATCH)
    text = hf.Exaone4Config(**decoder(sliding_window=64, sliding_window_pattern=2))
    vision = {**WINDOWED, "num_key_value_heads": 1}
    config = hf.Exaone4_5_Config(vision_config=vision, text_config=text)
    return hf.Exaone4_5_ForConditionalGeneration(config), images


def qwen4_exp() -> Built:
    _, _, images = qwen_parts(16)
    text = decoder(
        head_dim=12,
        **rope(mrope_interleaved=True),
        **EXPERTS,
        shared_expert_intermediate_size=32,
        layer_types=["linear_attention", "indexed_attention"],
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        linear_key_head_dim=12,
        linear_value_head_dim=12,
        hc_count=2,
        hc_lowrank=8,
        indexer_n_heads=2,
        indexer_kv_heads=1,
        indexer_head_dim=12,
        indexer_budget=4,
        indexer_compress_ratio=2,
    )
    config = hf.Qwen4ExpConfig(vision_config=QWEN3_VISION, text_config=text)
    return hf.Qwen4ExpForConditionalGeneration(config), images


def hyperclovax_vision_v2() -> Built:
    _, _, images = qwen_parts(PATCH)
    vision = {**WINDOWED, "model_type": "qwen2_5_vl_vision", "out_hidden_size": 40}
    text = hf.HyperCLOVAXConfig(**decoder())
    config = hf.HyperCLOVAXVisionV2Config(vision_config=vision, text_config=text)
    return hf.HyperCLOVAXVisionV2ForConditionalGeneration(config), images


def kimi_k25() -> Built:
    vision = {**_tower(), "pos_emb_height": 8, "pos_emb_width": 8}
    config = hf.Kimi_K25Config(
        vision_config=vision, text_config=_latent(), projection_hidden_size=VISION, image_token_id=300
    )
    images = hf.Kimi_K25ImageProcessor(size={"max_height": 16, "max_width": 16}, patch_size=PATCH)
    return hf.Kimi_K25ForConditionalGeneration(config), images


def paddleocr_vl() -> Built:
    text = decoder(**rope(), head_dim=12)
    config = hf.PaddleOCRVLConfig(vision_config={**_tower(), "image_size": 112}, text_config=text)
    images = hf.PaddleOCRVLImageProcessor(size=PIXELS, patch_size=PATCH)
    return hf.PaddleOCRVLForConditionalGeneration(config), images


def hunyuan_vl() -> Built:
    vision = {**_tower(), "max_image_size": 112, "text_hidden_size": TEXT, "out_hidden_size": TEXT}
    config = hf.HunYuanVLConfig(vision_config=vision, text_config=decoder(head_dim=12))
    images = hf.HunYuanVLImageProcessor(size=PIXELS, patch_size=PATCH)
    return hf.HunYuanVLForConditionalGeneration(config), images


def _tower() -> dict[str, Any]:
    tower = encoder()
    del tower["image_size"]
    return tower


def _latent() -> Any:
    """DeepSeek-V3's language model."""
    return hf.DeepseekV3Config(
        **decoder(
            moe_intermediate_size=16,
            n_routed_experts=2,
            num_experts_per_tok=1,
            n_group=1,
            topk_group=1,
            first_k_dense_replace=1,
            kv_lora_rank=16,
            q_lora_rank=16,
            qk_rope_head_dim=4,
            qk_nope_head_dim=8,
            v_head_dim=8,
        )
    )


FAMILIES = {
    build.__name__: build
    for build in (
        glm_ocr,
        glm5_next,
        qwen2_5_omni,
        qwen3_omni_moe,
        exaone4_5,
        qwen4_exp,
        hyperclovax_vision_v2,
        kimi_k25,
        paddleocr_vl,
        hunyuan_vl,
    )
}
