"""LLaVA and its kin: a perceptron behind CLIP, SigLIP or Pixtral."""

from __future__ import annotations

from typing import Any

import transformers as hf

from tests.tiny_vlms.parts import (
    PATCH,
    Built,
    clip,
    decoder,
    encoder,
    siglip,
    square,
    template,
    token_id,
    tokenizer,
)

PINPOINTS = [[56, 112], [112, 56], [112, 112]]


CLIP_SELECT = {"vision_feature_layer": -2, "vision_feature_select_strategy": "default"}


def llava() -> Built:
    tok = tokenizer(image_token="<image>")
    config = hf.LlavaConfig(
        vision_config=clip(),
        text_config=hf.LlamaConfig(**decoder()),
        image_token_index=token_id(tok, "<image>"),
        **CLIP_SELECT,
    )
    images = hf.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size=square(56))
    processor = hf.LlavaProcessor(
        images,
        tok,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template("<image>\n"),
    )
    return hf.LlavaForConditionalGeneration(config), processor


def llava_next() -> Built:
    tok = tokenizer(image_token="<image>")
    config = hf.LlavaNextConfig(
        vision_config=clip(),
        text_config=hf.LlamaConfig(**decoder()),
        image_token_index=token_id(tok, "<image>"),
        image_grid_pinpoints=PINPOINTS,
        **CLIP_SELECT,
    )
    images = hf.LlavaNextImageProcessor(
        size={"shortest_edge": 56}, crop_size=square(56), image_grid_pinpoints=PINPOINTS
    )
    processor = hf.LlavaNextProcessor(
        images,
        tok,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template("<image>\n"),
    )
    return hf.LlavaNextForConditionalGeneration(config), processor


def llava_onevision() -> Built:
    tok = tokenizer(image_token="<image>", video_token="<video>")
    config = hf.LlavaOnevisionConfig(
        vision_config=siglip(),
        text_config=hf.Qwen2Config(**decoder()),
        image_token_index=token_id(tok, "<image>"),
        video_token_index=token_id(tok, "<video>"),
        image_grid_pinpoints=PINPOINTS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
    )
    images = hf.LlavaOnevisionImageProcessor(size=square(56), image_grid_pinpoints=PINPOINTS)
    processor = hf.LlavaOnevisionProcessor(
        images,
        tok,
        hf.LlavaOnevisionVideoProcessor(size=square(56)),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=template("<image>\n"),
    )
    return hf.LlavaOnevisionForConditionalGeneration(config), processor


def pixtral_parts(merge: int) -> tuple[Any, Any, Any]:
    tok = tokenizer(image_token="[IMG]", image_break_token="[IMG_BREAK]", image_end_token="[IMG_END]")
    vision = hf.PixtralVisionConfig(**encoder(112, head_dim=8))
    images = hf.PixtralImageProcessor(size={"longest_edge": 112}, patch_size=square(PATCH))
    processor = hf.PixtralProcessor(
        images, tok, patch_size=PATCH, spatial_merge_size=merge, chat_template=template("[IMG]")
    )
    return tok, vision, processor


def llava_pixtral() -> Built:
    tok, vision, processor = pixtral_parts(merge=1)
    config = hf.LlavaConfig(
        vision_config=vision,
        text_config=hf.MistralConfig(**decoder()),
        image_token_index=token_id(tok, "[IMG]"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return hf.LlavaForConditionalGeneration(config), processor


def mistral3() -> Built:
    tok, vision, processor = pixtral_parts(merge=2)
    config = hf.Mistral3Config(
        vision_config=vision,
        text_config=hf.MistralConfig(**decoder()),
        image_token_index=token_id(tok, "[IMG]"),
        spatial_merge_size=2,
        vision_feature_layer=-1,
    )
    return hf.Mistral3ForConditionalGeneration(config), processor


def vipllava() -> Built:
    config = hf.VipLlavaConfig(
        vision_config=clip(),
        text_config=hf.LlamaConfig(**decoder()),
        vision_feature_layers=[-2, -3],
        vision_feature_layer=[-2, -3],
    )
    images = hf.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size=square(56))
    return hf.VipLlavaForConditionalGeneration(config), images
