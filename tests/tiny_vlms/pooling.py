"""Families that came with transformers 5 whose pictures are pooled, tiled, or merged as Pixtral's are."""

from __future__ import annotations

from typing import Any

import transformers as hf
from timm.models import register_model
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.mobilenetv5 import mobilenetv5_300m_enc

from tests.tiny_vlms.idefics import LONGEST
from tests.tiny_vlms.llava import pixtral_parts
from tests.tiny_vlms.packed import qwen3_5_text
from tests.tiny_vlms.parts import (
    PATCH,
    TEXT,
    VISION,
    Built,
    decoder,
    encoder,
    siglip,
    square,
    template,
    tiling_images,
    token_id,
    tokenizer,
)

TOWER = {"hidden_size": VISION, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}


def gemma4() -> Built:
    names = {"image": "<|image|>", "boi": "<|image>", "eoi": "<image|>"}
    names |= {"audio": "<|audio|>", "boa": "<|audio>", "eoa": "<audio|>"}
    tok = tokenizer(**{f"{role}_token": token for role, token in names.items()})
    pooled = {"patch_size": 7, "pooling_kernel_size": 2, "max_soft_tokens": 70}
    processor = hf.Gemma4Processor(
        hf.Gemma4AudioFeatureExtractor(),
        hf.Gemma4ImageProcessor(**pooled),
        tok,
        hf.Gemma4VideoProcessor(**pooled),
        chat_template=template("<|image|>"),
    )
    ids = {f"{role}_token_id": token_id(tok, token) for role, token in names.items() if role != "eoa"}
    vision = {**TOWER, "num_key_value_heads": 4, "head_dim": 8, "patch_size": 7, "pooling_kernel_size": 2}
    layers = ["sliding_attention", "full_attention"]
    text = decoder(
        layer_types=layers, sliding_window=64, head_dim=12, global_head_dim=12, hidden_size_per_layer_input=0
    )
    config = hf.Gemma4Config(
        vision_config={**vision, "position_embedding_size": 64},
        text_config={**text, "vocab_size_per_layer_input": 0},
        audio_config=None,
        video_token_id=token_id(tok, "<|video|>"),
        **ids,
    )
    return hf.Gemma4ForConditionalGeneration(config), processor


def minicpmv4_6() -> Built:
    return _minicpm("MiniCPMV4_6", "MiniCPMV4_6")


def minicpmv4_7() -> Built:
    return _minicpm("MiniCPMV4_7", "MiniCPMV4_6")


def minicpm_ocr() -> Built:
    return _minicpm("MiniCPMOcr", "MiniCPMOcr")


def _minicpm(family: str, images: str) -> Built:
    vision = {**TOWER, "image_size": 112, "patch_size": 7}
    config = getattr(hf, f"{family}Config")(
        vision_config=vision,
        text_config=hf.Qwen3_5TextConfig(**qwen3_5_text()),
        insert_layer_id=0,
        image_token_id=300,
        video_token_id=301,
    )
    processor = getattr(hf, f"{images}ImageProcessor")(patch_size=7, scale_resolution=56, max_slice_nums=4)
    return getattr(hf, f"{family}ForConditionalGeneration")(config), processor


def molmo2() -> Built:
    shared = {"hidden_size": 64, "intermediate_size": 256}
    shared |= {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16}
    vision = {**TOWER, **shared, "num_hidden_layers": 2, "image_size": [70, 70], "patch_size": PATCH}
    adapter = {**shared, "text_hidden_size": TEXT, "vision_feature_layer": [-1, -2]}
    config = hf.Molmo2Config(
        vision_config={**vision, "num_position_embeddings": 25},
        adapter_config=adapter,
        text_config=decoder(head_dim=12, additional_vocab_size=8),
    )
    images = hf.Molmo2ImageProcessor(size=square(70), max_crops=4, overlap_margins=[1, 1], patch_size=PATCH)
    return hf.Molmo2ForConditionalGeneration(config), images


def mistral_large4() -> Built:
    _, vision, processor = pixtral_parts(merge=2)
    text = decoder(
        moe_intermediate_size=16,
        n_routed_experts=2,
        num_experts_per_tok=1,
        num_key_value_heads=4,
        kv_lora_rank=16,
        q_lora_rank=16,
        qk_rope_head_dim=4,
        qk_nope_head_dim=8,
        v_head_dim=8,
        index_head_dim=8,
        index_n_heads=2,
    )
    config = hf.MistralLarge4Config(vision_config=vision, text_config=text, spatial_merge_size=2)
    return hf.MistralLarge4ForConditionalGeneration(config), processor


def lighton_ocr() -> Built:
    _, vision, processor = pixtral_parts(merge=2)
    config = hf.LightOnOcrConfig(
        vision_config=vision, text_config=hf.Qwen3Config(**decoder(head_dim=12)), spatial_merge_size=2
    )
    return hf.LightOnOcrForConditionalGeneration(config), processor


def qianfan_ocr() -> Built:
    vision = {**encoder([56, 56]), "patch_size": [PATCH, PATCH]}
    config = hf.QianfanOCRConfig(
        vision_config=vision, text_config=hf.Qwen3Config(**decoder(head_dim=12)), image_token_id=300
    )
    return hf.QianfanOCRForConditionalGeneration(config), tiling_images()


def modernvbert() -> Built:
    config = hf.ModernVBertConfig(
        vision_config=siglip(),
        text_config=hf.ModernBertConfig(**decoder(cls_token_id=1, sep_token_id=2)),
        pixel_shuffle_factor=2,
        image_token_id=300,
    )
    return hf.ModernVBertForMaskedLM(config), hf.Idefics3ImageProcessor(**LONGEST)


SHALLOW = (
    ["er_r1_k3_s2_e4_c48"],
    ["uir_r1_a3_k5_s2_e4_c48"],
    ["uir_r1_a5_k5_s2_e4_c96", "mqa_r1_k3_h2_v2_s1_d16_c96", "uir_r1_a0_k0_s1_e2_c96"],
    ["uir_r1_a5_k5_s2_e4_c64", "mqa_r1_k3_h2_s1_d16_c64", "uir_r1_a0_k0_s1_e2_c64"],
)
"""MobileNetV5's four stages with a block or two each, in timm's words."""


@register_model
def mobilenetv5_shallow_enc(pretrained: bool = False, **options: Any) -> Any:
    """A name for timm, since a checkpoint's configuration cannot hold the blocks."""
    blocks = {"block_args": decode_arch_def(SHALLOW), "stem_size": 16, "msfa_output_resolution": 4}
    return mobilenetv5_300m_enc(pretrained, **blocks, **options)


def gemma3n() -> Built:
    vision = hf.Gemma3nVisionConfig(architecture="mobilenetv5_shallow_enc")
    text = decoder(
        head_dim=12,
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=320,
        num_kv_shared_layers=0,
        laurel_rank=4,
        altup_num_inputs=2,
        layer_types=["sliding_attention", "full_attention"],
        activation_sparsity_pattern=[0.0, 0.0],
    )
    audio = {"hidden_size": 16, "conf_num_hidden_layers": 1, "conf_num_attention_heads": 2}
    config = hf.Gemma3nConfig(
        vision_config=vision, text_config=text, audio_config=audio, vision_soft_tokens_per_image=16
    )
    images = hf.SiglipImageProcessor(size=square(128), do_normalize=False)
    return hf.Gemma3nForConditionalGeneration(config), images


FAMILIES = {
    build.__name__: build
    for build in (
        gemma4,
        gemma3n,
        minicpmv4_6,
        minicpmv4_7,
        minicpm_ocr,
        molmo2,
        mistral_large4,
        lighton_ocr,
        qianfan_ocr,
        modernvbert,
    )
}
