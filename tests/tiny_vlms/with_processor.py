"""Further families that lmms-eval's wrappers run, or that have a whole processor."""

from __future__ import annotations

from typing import Any

import transformers as hf

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


def internvl() -> Built:
    tok = tokenizer(
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    vision = hf.InternVLVisionConfig(**{**encoder([56, 56]), "patch_size": [PATCH, PATCH]})
    config = hf.InternVLConfig(
        vision_config=vision,
        text_config=hf.Qwen2Config(**decoder()),
        image_token_id=token_id(tok, "<IMG_CONTEXT>"),
        downsample_ratio=0.5,
    )
    processor = hf.InternVLProcessor(
        tiling_images(),
        tok,
        hf.InternVLVideoProcessor(size=square(56)),
        image_seq_length=4,
        chat_template=template("<IMG_CONTEXT>\n"),
    )
    return hf.InternVLForConditionalGeneration(config), processor


def paligemma() -> Built:
    images = hf.SiglipImageProcessor(size=square(56))
    images.image_seq_length = 16
    processor = hf.PaliGemmaProcessor(
        images, tokenizer(kind="Gemma", image_token="<image>"), chat_template=template("<image>")
    )
    tok = processor.tokenizer
    vocabulary = (len(tok) + 63) // 64 * 64
    config = hf.PaliGemmaConfig(
        vision_config=siglip(projection_dim=TEXT),
        text_config=hf.GemmaConfig(**decoder(vocabulary, head_dim=12)),
        image_token_index=token_id(tok, "<image>"),
        projection_dim=TEXT,
    )
    return hf.PaliGemmaForConditionalGeneration(config), processor


def gemma3() -> Built:
    names = {"image": "<image_soft_token>", "boi": "<start_of_image>", "eoi": "<end_of_image>"}
    tok = tokenizer(**{f"{role}_token": token for role, token in names.items()})
    text = decoder(head_dim=12, sliding_window=64, layer_types=["sliding_attention", "full_attention"])
    config = hf.Gemma3Config(
        vision_config=siglip(),
        text_config=hf.Gemma3TextConfig(**text),
        mm_tokens_per_image=4,
        **{f"{role}_token_index": token_id(tok, token) for role, token in names.items()},
    )
    images = hf.Gemma3ImageProcessor(size=square(56))
    processor = hf.Gemma3Processor(
        images, tok, image_seq_length=4, chat_template=template("<start_of_image>")
    )
    return hf.Gemma3ForConditionalGeneration(config), processor


def _q_former(**more: Any) -> dict[str, Any]:
    size = {"hidden_size": 40, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return {"vocab_size": 320, **size, "encoder_hidden_size": VISION, "cross_attention_frequency": 1, **more}


def blip_2() -> Built:
    tok = tokenizer("<image>")
    text = hf.OPTConfig(
        vocab_size=320,
        hidden_size=TEXT,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        word_embed_proj_dim=TEXT,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    config = hf.Blip2Config(
        vision_config=encoder(),
        qformer_config=_q_former(),
        text_config=text.to_dict(),
        num_query_tokens=8,
        image_token_index=token_id(tok, "<image>"),
    )
    processor = hf.Blip2Processor(hf.BlipImageProcessor(size=square(56)), tok, num_query_tokens=8)
    return hf.Blip2ForConditionalGeneration(config), processor


def instructblip() -> Built:
    tok = tokenizer("<image>")
    config = hf.InstructBlipConfig(
        vision_config=encoder(),
        qformer_config=_q_former(max_position_embeddings=512),
        text_config=hf.LlamaConfig(**decoder()).to_dict(),
        num_query_tokens=8,
        image_token_index=token_id(tok, "<image>"),
    )
    images = hf.BlipImageProcessor(size=square(56))
    processor = hf.InstructBlipProcessor(images, tok, tokenizer(cls_sep=True), num_query_tokens=8)
    return hf.InstructBlipForConditionalGeneration(config), processor
