"""Newer families that see a picture as a whole, or as a whole and its parts."""

from __future__ import annotations

from typing import Any

import transformers as hf

from tests.tiny_vlms.llava import CLIP_SELECT, PINPOINTS
from tests.tiny_vlms.parts import TEXT, VISION, Built, clip, decoder, encoder, image_processor, siglip, square
from tests.tiny_vlms.with_processor import _q_former

CROPPED = {"size": {"shortest_edge": 56}, "crop_size": square(56)}


def llava_next_video() -> Built:
    config = hf.LlavaNextVideoConfig(
        vision_config=clip(),
        text_config=hf.LlamaConfig(**decoder()),
        image_grid_pinpoints=PINPOINTS,
        **CLIP_SELECT,
    )
    images = hf.LlavaNextImageProcessor(**CROPPED, image_grid_pinpoints=PINPOINTS)
    return hf.LlavaNextVideoForConditionalGeneration(config), images


def video_llava() -> Built:
    config = hf.VideoLlavaConfig(vision_config=clip(), text_config=hf.LlamaConfig(**decoder()), **CLIP_SELECT)
    return hf.VideoLlavaForConditionalGeneration(config), hf.VideoLlavaImageProcessor(**CROPPED)


def sam(image_size: int, **more: Any) -> dict[str, Any]:
    settings = encoder(image_size, output_channels=16, window_size=4, global_attn_indexes=[1], **more)
    return {**settings, "patch_size": 8, "num_hidden_layers": 2, "mlp_dim": 64}


EXPERTS = {
    "n_routed_experts": 2,
    "n_shared_experts": 1,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 32,
}


def deepseek_ocr2() -> Built:
    reader = {"hidden_size": VISION, "intermediate_size": 64, "num_hidden_layers": 2}
    reader |= {"num_attention_heads": 4, "num_key_value_heads": 2, "use_sliding_window": False}
    vision = {"sam_config": sam(128, downsample_channels=[24, VISION]), "encoder_config": reader}
    text = {**decoder(), **EXPERTS, "num_key_value_heads": 4, "mlp_layer_types": ["dense", "sparse"]}
    config = hf.DeepseekOcr2Config(vision_config=vision, text_config=text, image_token_id=300)
    images = hf.DeepseekOcr2ImageProcessor(size=square(128), tile_size=64, min_patches=2, max_patches=4)
    return hf.DeepseekOcr2ForConditionalGeneration(config), images


def unlimited_ocr() -> Built:
    vision = {"sam_config": sam(128, downsample_channels=[24, VISION]), "encoder_config": encoder()}
    text = {**decoder(), **EXPERTS, "num_key_value_heads": 4, "mlp_layer_types": ["dense", "sparse"]}
    config = hf.UnlimitedOcrConfig(vision_config=vision, text_config=text, image_token_id=300)
    images = hf.UnlimitedOcrImageProcessor(size=square(128), tile_size=64, min_patches=2, max_patches=4)
    return hf.UnlimitedOcrForConditionalGeneration(config), images


def step3p7() -> Built:
    config = hf.Step3p7Config(
        vision_config={**encoder(112), "mlp_ratio": 2.0, "max_position_embeddings": 64},
        text_config=decoder(head_dim=12, mlp_layer_types=["dense", "dense"], n_routed_experts=2),
        image_token_id=300,
    )
    return hf.Step3p7ForConditionalGeneration(config), hf.Step3p7ImageProcessor(
        size=square(112), patch_size=56
    )


def deepseek_vl_hybrid() -> Built:
    config = hf.DeepseekVLHybridConfig(
        vision_config=siglip().to_dict(),
        high_res_vision_config={"model_type": "sam_vision_model", **sam(128)},
        text_config=hf.LlamaConfig(**decoder()).to_dict(),
    )
    images = hf.DeepseekVLHybridImageProcessor(size=square(56), high_res_size=square(128))
    return hf.DeepseekVLHybridForConditionalGeneration(config), images


def granite4_vision() -> Built:
    vision = hf.SiglipVisionConfig(**{**encoder(112), "hidden_size": 64, "vision_use_head": False})
    pinpoints = [[112, 224], [224, 112], [224, 224]]
    config = hf.Granite4VisionConfig(
        vision_config=vision,
        text_config=decoder(num_hidden_layers=6),
        qformer_config={"model_type": "blip_2_qformer", "intermediate_size": 64, "num_hidden_layers": 1},
        downsample_rate="2/4",
        deepstack_layer_map=[[-2, 0], [-1, 1]],
        spatial_target_layers=[2, 3, 4, 5],
        image_grid_pinpoints=pinpoints,
        vision_feature_select_strategy="full",
    )
    images = hf.LlavaNextImageProcessor(
        size={"shortest_edge": 112}, crop_size=square(112), image_grid_pinpoints=pinpoints
    )
    return hf.Granite4VisionForConditionalGeneration(config), images


def granite_docling() -> Built:
    config = hf.GraniteDoclingConfig(
        vision_config={
            **encoder(),
            "out_hidden_size": TEXT,
            "scale_factor": 2,
            "deepstack_visual_indexes": [0, 1],
        },
        text_config=decoder(),
        image_token_id=300,
    )
    images = hf.GraniteDoclingImageProcessor(size=square(56), max_patches=4)
    return hf.GraniteDoclingForConditionalGeneration(config), images


def phi4_multimodal() -> Built:
    audio = {"hidden_size": 16, "intermediate_size": 16, "num_blocks": 1, "num_attention_heads": 2}
    audio |= {"ext_pw_out_channel": 16, "depthwise_separable_out_channel": 16, "nemo_conv_channels": 16}
    vision = {**encoder(), "crop_size": 56, "image_token_id": 300}
    config = hf.Phi4MultimodalConfig(
        vision_config=vision,
        audio_config={**audio, "audio_token_id": 301},
        **decoder(),
    )
    images = image_processor("Phi4Multimodal", size=square(56), dynamic_hd=4)
    return hf.Phi4MultimodalForCausalLM(config), images


def instructblipvideo() -> Built:
    from tests.tiny_vlms.parts import tokenizer

    config = hf.InstructBlipVideoConfig(
        vision_config=encoder(),
        qformer_config=_q_former(max_position_embeddings=512),
        text_config=hf.LlamaConfig(**decoder()).to_dict(),
        num_query_tokens=8,
    )
    videos = hf.InstructBlipVideoVideoProcessor(size=square(56))
    processor = hf.InstructBlipVideoProcessor(
        videos, tokenizer(), tokenizer(cls_sep=True), num_query_tokens=8
    )
    return hf.InstructBlipVideoForConditionalGeneration(config), processor


KOSMOS_TEXT = {
    "vocab_size": 320,
    "embed_dim": TEXT,
    "layers": 1,
    "ffn_dim": 64,
    "attention_heads": 4,
    "max_position_embeddings": 64,
}


def kosmos2() -> Built:
    config = hf.Kosmos2Config(vision_config=encoder(), text_config=KOSMOS_TEXT, latent_query_num=8)
    return hf.Kosmos2ForConditionalGeneration(config), hf.CLIPImageProcessor(**CROPPED)


def kosmos2_5() -> Built:
    vision = {**encoder(), "head_dim": 8, "patch_embed_hidden_size": 3 * 14 * 14, "max_num_patches": 64}
    config = hf.Kosmos2_5Config(vision_config=vision, text_config=KOSMOS_TEXT, latent_query_num=8)
    images = hf.Kosmos2_5ImageProcessor(patch_size=square(14), max_patches=64)
    return hf.Kosmos2_5ForConditionalGeneration(config), images


def _gemma3_images() -> Any:
    return hf.Gemma3ImageProcessor(size=square(56))


def t5gemma2() -> Built:
    text = decoder(head_dim=12, sliding_window=64, layer_types=["sliding_attention", "full_attention"])
    config = hf.T5Gemma2Config(
        encoder={"vision_config": siglip().to_dict(), "text_config": text, "mm_tokens_per_image": 4},
        decoder=text,
        image_token_index=300,
    )
    return hf.T5Gemma2ForConditionalGeneration(config), _gemma3_images()


def shieldgemma2() -> Built:
    text = decoder(head_dim=12, sliding_window=64, layer_types=["sliding_attention", "full_attention"])
    config = hf.ShieldGemma2Config(
        vision_config=siglip().to_dict(), text_config=text, mm_tokens_per_image=4, image_token_index=300
    )
    return hf.ShieldGemma2ForImageClassification(config), _gemma3_images()


def pi0() -> Built:
    gemma = {"model_type": "gemma", **decoder(head_dim=12, num_hidden_layers=1)}
    vlm = {
        "model_type": "paligemma",
        "vision_config": siglip(projection_dim=TEXT).to_dict(),
        "text_config": gemma,
        "image_token_index": 300,
        "projection_dim": TEXT,
    }
    config = hf.PI0Config(vlm_config=vlm, dit_config=gemma)
    images = hf.PI0ImageProcessor(size={"max_height": 56, "max_width": 56}, pad_size=square(56))
    return hf.PI0ForConditionalGeneration(config), images


def ultravbert() -> Built:
    text = {"model_type": "ultrabert", **decoder()}
    config = hf.UltraVBertConfig(
        vision_config=siglip().to_dict(), text_config=text, pixel_shuffle_factor=2, image_token_id=300
    )
    images = hf.UltraVBertImageProcessor(size={"longest_edge": 112}, max_image_size={"longest_edge": 56})
    return hf.UltraVBertForMaskedLM(config), images


def inkling2() -> Built:
    text = decoder(head_dim=12, swa_num_attention_heads=4, swa_num_key_value_heads=2, swa_head_dim=12)
    text |= {"moe_intermediate_size": 32, "n_routed_experts": 2, "num_experts_per_tok": 1}
    vision = {**encoder(), "posemb_grid_size": 4, "projection_hidden_dim": 64, "text_hidden_size": TEXT}
    config = hf.Inkling2Config(vision_config=vision, text_config=text, image_token_id=300)
    return hf.Inkling2ForConditionalGeneration(config), hf.Inkling2ImageProcessor(size=square(28))


VIEWING = {
    "llava_next_video": llava_next_video,
    "video_llava": video_llava,
    "deepseek_ocr2": deepseek_ocr2,
    "unlimited_ocr": unlimited_ocr,
    "step3p7": step3p7,
    "deepseek_vl_hybrid": deepseek_vl_hybrid,
    "granite4_vision": granite4_vision,
    "granite_docling": granite_docling,
    "phi4_multimodal": phi4_multimodal,
    "instructblipvideo": instructblipvideo,
    "kosmos-2": kosmos2,
    "kosmos-2.5": kosmos2_5,
    "t5gemma2": t5gemma2,
    "shieldgemma2": shieldgemma2,
    "pi0": pi0,
    "ultravbert": ultravbert,
    "inkling2": inkling2,
}
