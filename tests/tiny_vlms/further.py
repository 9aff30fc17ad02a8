"""Families with a bare image processor, which is all that the adapter needs."""

from __future__ import annotations

import transformers as hf

from tests.tiny_vlms.parts import (
    PATCH,
    TEXT,
    VISION,
    Built,
    decoder,
    encoder,
    image_processor,
    siglip,
    square,
    tiling_images,
)


def aya_vision() -> Built:
    config = hf.AyaVisionConfig(
        vision_config=siglip(),
        text_config=hf.Cohere2Config(**decoder(sliding_window=64)),
        downsample_factor=2,
        alignment_intermediate_size=64,
    )
    return hf.AyaVisionForConditionalGeneration(config), tiling_images()


def cohere2_vision() -> Built:
    config = hf.Cohere2VisionConfig(
        vision_config=siglip(),
        text_config=hf.Cohere2Config(**decoder(sliding_window=64)),
        downsample_factor=2,
        alignment_intermediate_size=64,
    )
    images = image_processor("Cohere2Vision", size=square(56), min_patches=1, max_patches=4)
    return hf.Cohere2VisionForConditionalGeneration(config), images


def got_ocr2() -> Built:
    vision = {
        "hidden_size": VISION,
        "output_channels": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 64,
        "patch_size": 8,
        "window_size": 4,
        "global_attn_indexes": [1],
        "mlp_dim": 64,
    }
    config = hf.GotOcr2Config(vision_config=vision, text_config=hf.Qwen2Config(**decoder()).to_dict())
    images = hf.GotOcr2ImageProcessor(size=square(64), crop_to_patches=True, min_patches=1, max_patches=4)
    return hf.GotOcr2ForConditionalGeneration(config), images


def deepseek_vl() -> Built:
    config = hf.DeepseekVLConfig(
        vision_config=siglip().to_dict(), text_config=hf.LlamaConfig(**decoder()).to_dict()
    )
    images = hf.DeepseekVLImageProcessor(size=square(56))
    return hf.DeepseekVLForConditionalGeneration(config), images


def janus() -> Built:
    vision = {**encoder(), "projection_dim": TEXT, "mlp_ratio": 2.0, "num_image_tokens": 16}
    vq = {"embed_dim": 8, "num_embeddings": 32, "latent_channels": 32, "base_channels": 32, "num_patches": 4}
    vq |= {
        "channel_multiplier": [1, 1],
        "num_res_blocks": 1,
        "projection_dim": TEXT,
        "image_token_embed_dim": TEXT,
    }
    config = hf.JanusConfig(
        vision_config=vision, text_config=hf.LlamaConfig(**decoder()).to_dict(), vq_config=vq
    )
    return hf.JanusForConditionalGeneration(config), hf.JanusImageProcessor(size=square(56))


def florence2() -> Built:
    vision = {
        "depths": [1, 1],
        "patch_size": [7, 3],
        "patch_stride": [4, 2],
        "patch_padding": [3, 1],
        "patch_prenorm": [False, True],
        "embed_dim": [16, VISION],
        "num_heads": [2, 2],
        "num_groups": [2, 2],
        "window_size": 4,
        "projection_dim": TEXT,
        "max_position_embeddings": 16,
    }
    text = {"vocab_size": 320, "d_model": TEXT, "encoder_layers": 1, "decoder_layers": 1}
    text |= {
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
    }
    config = hf.Florence2Config(
        vision_config=vision, text_config={"model_type": "bart", **text}, image_token_id=300
    )
    images = hf.CLIPImageProcessor(size=square(64), do_center_crop=False)
    return hf.Florence2ForConditionalGeneration(config), images


def ovis2() -> Built:
    vision = {**encoder(), "vocab_size": 64, "hidden_stride": 2, "num_visual_indicator_tokens": 5}
    text = hf.Qwen2Config(**decoder()).to_dict()
    config = hf.Ovis2Config(vision_config=vision, text_config=text, vocab_size=320, hidden_size=TEXT)
    images = hf.Ovis2ImageProcessor(size=square(56), crop_to_patches=True, min_patches=1, max_patches=4)
    return hf.Ovis2ForConditionalGeneration(config), images


def llama4() -> Built:
    vision = {
        **encoder(),
        "intermediate_size": 128,
        "vision_output_dim": 40,
        "projector_input_dim": 40,
        "projector_output_dim": 40,
    }
    text = {
        **decoder(head_dim=12),
        "intermediate_size_mlp": 64,
        "num_local_experts": 2,
        "attention_chunk_size": 64,
    }
    config = hf.Llama4Config(vision_config=vision, text_config=text, pad_token_id=0)
    images = image_processor("Llama4", size=square(56), max_patches=4)
    return hf.Llama4ForConditionalGeneration(config), images


def lfm2_vl() -> Built:
    vision = {**encoder(), "num_patches": 64, "vision_use_head": False}
    del vision["image_size"]
    text = {**decoder(), "layer_types": ["conv", "full_attention"], "block_ff_dim": 64, "conv_dim": TEXT}
    config = hf.Lfm2VlConfig(
        vision_config={"model_type": "siglip2_vision_model", **vision},
        text_config={"model_type": "lfm2", **text},
        projector_hidden_size=64,
        downsample_factor=2,
    )
    images = image_processor(
        "Lfm2Vl",
        encoder_patch_size=PATCH,
        tile_size=56,
        min_tiles=2,
        max_tiles=4,
        min_image_tokens=4,
        max_image_tokens=8,
        max_pixels_tolerance=1.0,
        downsample_factor=2,
    )
    return hf.Lfm2VlForConditionalGeneration(config), images


def aria() -> Built:
    vision = {**encoder(490), "patch_size": 70, "model_type": "idefics3_vision"}
    text = {**decoder(), "moe_num_experts": 2, "moe_topk": 1, "moe_num_shared_experts": 1}
    config = hf.AriaConfig(
        vision_config=vision, text_config=hf.AriaTextConfig(**text), projector_patch_to_query_dict={49: 8}
    )
    return hf.AriaForConditionalGeneration(config), hf.AriaImageProcessor(
        max_image_size=490, min_image_size=70
    )


def perception_lm() -> Built:
    arguments = {
        "embed_dim": VISION,
        "depth": 2,
        "num_heads": 2,
        "img_size": [56, 56],
        "patch_size": PATCH,
        "ref_feat_shape": [4, 4],
        "global_pool": "",
        "use_post_transformer_norm": False,
    }
    vision = {
        "model_type": "timm_wrapper",
        "architecture": "vit_pe_core_tiny_patch16_384",
        "model_args": arguments,
    }
    config = hf.PerceptionLMConfig(
        vision_config=hf.TimmWrapperConfig(**vision, do_pooling=False),
        text_config=hf.LlamaConfig(**decoder()),
        projector_pooling_ratio=2,
    )
    images = image_processor("PerceptionLM", tile_size=56, max_num_tiles=4, vision_input_type="thumb+tile")
    return hf.PerceptionLMForConditionalGeneration(config), images


def fast_vlm() -> Built:
    arguments = {
        "layers": [1, 1, 1, 1, 1],
        "embed_dims": [VISION] * 5,
        "cls_ratio": 1.0,
        "mlp_ratios": [2, 2, 2, 2, 2],
        "inference_mode": True,
    }
    vision = hf.TimmWrapperConfig(
        architecture="fastvit_mci3", model_args=arguments, do_pooling=False, hidden_size=VISION
    )
    config = hf.FastVlmConfig(vision_config=vision, text_config=hf.Qwen2Config(**decoder()))
    return hf.FastVlmForConditionalGeneration(config), hf.CLIPImageProcessor(
        size=square(256), crop_size=square(256)
    )
