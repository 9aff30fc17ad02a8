"""Newer families that pack pictures of any size in one sequence and merge blocks of patches."""

from __future__ import annotations

from typing import Any

import transformers as hf

from tests.tiny_vlms.packed import DEEPSTACK, QWEN_VISION, qwen3_text, rope
from tests.tiny_vlms.parts import PATCH, TEXT, VISION, Built, decoder, encoder

PIXELS = {"shortest_edge": 56 * 56, "longest_edge": 112 * 112}


def qwen_images(patch: int = PATCH, frames: int = 2) -> Any:
    return hf.Qwen2VLImageProcessor(size=PIXELS, patch_size=patch, merge_size=2, temporal_patch_size=frames)


def tower(**more: Any) -> dict[str, Any]:
    """What nearly every tower takes that keeps pictures in their size."""
    settings = encoder(**more)
    del settings["image_size"]
    return settings


def video_llama_3() -> Built:
    config = hf.VideoLlama3Config(
        vision_config=tower(), text_config=hf.Qwen2Config(**decoder(), use_sliding_window=False)
    )
    images = hf.VideoLlama3ImageProcessor(size=PIXELS, patch_size=PATCH)
    return hf.VideoLlama3ForConditionalGeneration(config), images


def lfm3_vl() -> Built:
    vision = tower(num_key_value_heads=2, layer_types=["conv", "full_attention", "conv"])
    text = {**decoder(), "layer_types": ["conv", "full_attention"]}
    config = hf.Lfm3VlConfig(
        vision_config=vision, text_config={"model_type": "lfm3", **text}, projector_hidden_size=64
    )
    return hf.Lfm3VlForConditionalGeneration(config), qwen_images()


MUSE_VISION = {"num_hidden_layers": 2, "pos_emb_height": 4, "pos_emb_width": 4, "max_position_embeddings": 16}
MUSE_ADAPTER = {"out_hidden_size": 4 * VISION, "projector_hidden_size": 128}


def muse_spark() -> Built:
    text = decoder(head_dim=12, moe_hidden_size=32, moe_intermediate_size=32, num_local_experts=2)
    audio = {"patch_sizes": [4, 4], "hidden_sizes": [8, 8], "depths": [1, 1], "num_hidden_layers": 2}
    config = hf.MuseSparkConfig(
        vision_config=tower(**MUSE_VISION),
        text_config={**text, "num_experts_per_tok": 1},
        audio_config={**audio, "out_hidden_size": TEXT},
        **MUSE_ADAPTER,
    )
    return hf.MuseSparkForConditionalGeneration(config), hf.MuseGlimmerImageProcessor(max_image_tokens=16)


def muse_glimmer() -> Built:
    config = hf.MuseGlimmerConfig(
        vision_config=tower(**MUSE_VISION), text_config=decoder(head_dim=12), **MUSE_ADAPTER
    )
    return hf.MuseGlimmerForConditionalGeneration(config), hf.MuseGlimmerImageProcessor(max_image_tokens=16)


def minimax_m3_vl() -> Built:
    text = decoder(head_dim=12, rotary_dim=12, dense_intermediate_size=64, shared_intermediate_size=32)
    config = hf.MiniMaxM3VLConfig(
        vision_config={**encoder(112), "hidden_size": 48},
        text_config={**text, "num_local_experts": 2, "num_experts_per_tok": 1},
        projector_hidden_size=64,
    )
    images = hf.MiniMaxM3VLImageProcessor(size=PIXELS, patch_size=PATCH)
    return hf.MiniMaxM3SparseForConditionalGeneration(config), images


def ernie4_5_vl_moe() -> Built:
    vision = {"hidden_size": VISION, "intermediate_size": 64, "depth": 2, "num_heads": 2, "patch_size": PATCH}
    text = decoder(moe_intermediate_size=[32, 32], moe_num_experts=2, moe_k=1, moe_num_shared_experts=1)
    config = hf.Ernie4_5_VLMoeConfig(vision_config=vision, text_config={**text, **rope()})
    images = hf.Ernie4_5_VLMoeImageProcessor(size=PIXELS, patch_size=PATCH)
    return hf.Ernie4_5_VLMoeForConditionalGeneration(config), images


def dots3_note() -> Built:
    vision = tower(adapter_in_dim=VISION, adapter_out_dim=TEXT, mlp_layer_types=["dense"] * 3)
    latent = {"kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "v_head_dim": 8}
    text = decoder(**latent, qk_nope_head_dim=8, n_routed_experts=2, num_experts_per_tok=1, index_n_heads=2)
    audio = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16}
    audio |= {"adapter_input_size": 16, "adapter_out_dim": TEXT, "downsample_hidden_size": 8}
    text |= {"num_key_value_heads": 4, "index_head_dim": 16, "moe_intermediate_size": 32}
    config = hf.Dots3NoteConfig(vision_config=vision, text_config=text, audio_config=audio)
    return hf.Dots3NoteForConditionalGeneration(config), qwen_images(frames=1)


def cosmos3_omni() -> Built:
    config = hf.Cosmos3OmniConfig(
        vision_config={"model_type": "qwen3_vl_vision", **DEEPSTACK},
        text_config={"model_type": "qwen3_vl_text", **qwen3_text()},
    )
    return hf.Cosmos3OmniForConditionalGeneration(config), qwen_images(16)


def cosmos3_edge() -> Built:
    config = hf.Cosmos3EdgeConfig(
        vision_config=tower(num_patches=16), text_config=qwen3_text(), projector_hidden_size=64
    )
    images = hf.Cosmos3EdgeImageProcessor(size=PIXELS, patch_size=PATCH)
    return hf.Cosmos3EdgeForConditionalGeneration(config), images


def cohere_compass() -> Built:
    vision = {**QWEN_VISION, "depth": 3, "patch_size": 16, "num_position_embeddings": 64}
    text = decoder(layer_types=["sliding_attention", "full_attention"], sliding_window=64)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 2, 2]}
    text["rope_parameters"] = {"sliding_attention": rope, "full_attention": rope}
    config = hf.CohereCompassConfig(
        vision_config={**vision, "deepstack_visual_indexes": [0, 1]}, text_config=text
    )
    images = hf.CohereCompassImageProcessor(size=PIXELS, patch_size=16)
    return hf.CohereCompassForConditionalGeneration(config), images


def nemotron_h_omni() -> Built:
    vision = {"model_type": "radio", "hidden_size": VISION, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision |= {"mlp_ratio": 2.0, "max_img_size": 128, "image_size": 112, "patch_size": PATCH}
    text = {"model_type": "nemotron_h", **decoder(head_dim=12), "layers_block_type": ["attention", "mlp"]}
    config = hf.NemotronH_Omni_Reasoning_V3_Config(
        vision_config={**vision, "video_temporal_patch_size": 2, "num_cls_tokens": 2, "num_registers": 2},
        text_config=text,
        projector_hidden_size=64,
        vision_hidden_size=VISION,
    )
    images = hf.NemotronH_Omni_Reasoning_V3ImageProcessor(
        patch_size=PATCH, min_num_patches=16, max_num_patches=64
    )
    return hf.NemotronH_Omni_Reasoning_V3(config), images


MERGING = {
    "video_llama_3": video_llama_3,
    "lfm3_vl": lfm3_vl,
    "muse_spark": muse_spark,
    "muse_glimmer": muse_glimmer,
    "minimax_m3_vl": minimax_m3_vl,
    "ernie4_5_vl_moe": ernie4_5_vl_moe,
    "dots3_note": dots3_note,
    "cosmos3_omni": cosmos3_omni,
    "cosmos3_edge": cosmos3_edge,
    "cohere_compass": cohere_compass,
    "nemotron_h_omni": nemotron_h_omni,
}
