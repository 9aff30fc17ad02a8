"""Tiny vision-language models of transformers' real classes, with random weights, built in milliseconds.

Vision width 32, text width 48, patches of 14 pixels unless a class fixes its own. `make(name)` returns a
model in evaluation mode and its processor (a bare image processor for those of `FURTHER`); `save(name,
folder)` writes a checkpoint that `from_pretrained` and lmms-eval's wrappers load.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

VISION, TEXT, PATCH = 32, 48, 14
Built = tuple[Any, Any]


def tokenizer(*plain: str, cls_sep: bool = False, **named: str) -> Any:
    """A byte-level tokenizer with special tokens; `named` ones become attributes such as `image_token`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *alphabet])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    if cls_sep:
        raw.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    made = hf.PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="left",
        extra_special_tokens=dict(named),
        model_input_names=["input_ids", "attention_mask"],
    )
    extra = [AddedToken(token, special=True, normalized=False) for token in (*plain, *named.values())]
    made.add_tokens(extra, special_tokens=True)
    return made


def template(image: str) -> str:
    """A chat template that writes `image` for every picture."""
    return (
        "{% for m in messages %}{{ m['role'].upper() }}: "
        "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
        "{% if c['type'] == 'image' or 'image' in c or 'image_url' in c %}"
        + image
        + "{% elif 'text' in c %}{{ c['text'] }}"
        "{% endif %}{% endfor %}{% endif %}\n{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    )


def encoder(image_size: Any = 56, **more: Any) -> dict[str, Any]:
    """Settings that nearly every vision tower shares."""
    common = {
        "hidden_size": VISION,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    }
    return {**common, "image_size": image_size, "patch_size": PATCH, **more}


def decoder(vocabulary: int = 320, **more: Any) -> dict[str, Any]:
    """Settings that nearly every language model shares."""
    return {
        "vocab_size": vocabulary,
        "hidden_size": TEXT,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        **more,
    }


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def _id(tok: Any, token: str) -> int:
    return int(tok.convert_tokens_to_ids(token))


def _clip() -> Any:
    return hf.CLIPVisionConfig(**encoder(projection_dim=VISION))


def _siglip(**more: Any) -> Any:
    return hf.SiglipVisionConfig(**encoder(vision_use_head=False, **more))


PINPOINTS = [[56, 112], [112, 56], [112, 112]]
CLIP_SELECT = {"vision_feature_layer": -2, "vision_feature_select_strategy": "default"}


def _llava() -> Built:
    tok = tokenizer(image_token="<image>")
    config = hf.LlavaConfig(
        vision_config=_clip(),
        text_config=hf.LlamaConfig(**decoder()),
        image_token_index=_id(tok, "<image>"),
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


def _llava_next() -> Built:
    tok = tokenizer(image_token="<image>")
    config = hf.LlavaNextConfig(
        vision_config=_clip(),
        text_config=hf.LlamaConfig(**decoder()),
        image_token_index=_id(tok, "<image>"),
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


def _llava_onevision() -> Built:
    tok = tokenizer(image_token="<image>", video_token="<video>")
    config = hf.LlavaOnevisionConfig(
        vision_config=_siglip(),
        text_config=hf.Qwen2Config(**decoder()),
        image_token_index=_id(tok, "<image>"),
        video_token_index=_id(tok, "<video>"),
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


def _pixtral_parts(merge: int) -> tuple[Any, Any, Any]:
    tok = tokenizer(image_token="[IMG]", image_break_token="[IMG_BREAK]", image_end_token="[IMG_END]")
    vision = hf.PixtralVisionConfig(**encoder(112, head_dim=8))
    images = hf.PixtralImageProcessor(size={"longest_edge": 112}, patch_size=square(PATCH))
    processor = hf.PixtralProcessor(
        images, tok, patch_size=PATCH, spatial_merge_size=merge, chat_template=template("[IMG]")
    )
    return tok, vision, processor


def _llava_pixtral() -> Built:
    tok, vision, processor = _pixtral_parts(merge=1)
    config = hf.LlavaConfig(
        vision_config=vision,
        text_config=hf.MistralConfig(**decoder()),
        image_token_index=_id(tok, "[IMG]"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return hf.LlavaForConditionalGeneration(config), processor


def _mistral3() -> Built:
    tok, vision, processor = _pixtral_parts(merge=2)
    config = hf.Mistral3Config(
        vision_config=vision,
        text_config=hf.MistralConfig(**decoder()),
        image_token_index=_id(tok, "[IMG]"),
        spatial_merge_size=2,
        vision_feature_layer=-1,
    )
    return hf.Mistral3ForConditionalGeneration(config), processor


def _idefics2() -> Built:
    tok = tokenizer("<fake_token_around_image>", "<image>", "<end_of_utterance>")
    resampler = {
        "hidden_size": TEXT,
        "resampler_n_latents": 8,
        "resampler_depth": 2,
        "resampler_n_heads": 4,
        "resampler_head_dim": 12,
        "num_key_value_heads": 2,
    }
    config = hf.Idefics2Config(
        image_token_id=_id(tok, "<image>"),
        pad_token_id=0,
        vision_config=encoder(112),
        perceiver_config=resampler,
        text_config=hf.MistralConfig(**decoder(sliding_window=None)),
    )
    images = hf.Idefics2ImageProcessor(
        size={"longest_edge": 112, "shortest_edge": 56}, do_image_splitting=False
    )
    processor = hf.Idefics2Processor(images, tok, image_seq_len=8, chat_template=template("<image>"))
    return hf.Idefics2ForConditionalGeneration(config), processor


TILE_TOKENS = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
LONGEST = {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}}


def _idefics3() -> Built:
    tok = tokenizer(
        "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *TILE_TOKENS
    )
    config = hf.Idefics3Config(
        image_token_id=_id(tok, "<image>"),
        pad_token_id=0,
        scale_factor=2,
        vision_config=encoder(),
        text_config=hf.LlamaConfig(**decoder()),
    )
    images = hf.Idefics3ImageProcessor(**LONGEST)
    processor = hf.Idefics3Processor(images, tok, image_seq_len=4, chat_template=template("<image>"))
    return hf.Idefics3ForConditionalGeneration(config), processor


def _smolvlm() -> Built:
    tok = tokenizer(
        *TILE_TOKENS,
        image_token="<image>",
        fake_image_token="<fake_token_around_image>",
        end_of_utterance_token="<end_of_utterance>",
        global_image_token="<global-img>",
        video_token="<video>",
    )
    config = hf.SmolVLMConfig(
        image_token_id=_id(tok, "<image>"),
        pad_token_id=0,
        scale_factor=2,
        vision_config=encoder(),
        text_config=hf.LlamaConfig(**decoder()),
    )
    sampling = {"fps": 1, "max_frames": 4, "video_size": {"longest_edge": 56}}
    videos = hf.SmolVLMVideoProcessor(
        size={"longest_edge": 56}, max_image_size={"longest_edge": 56}, video_sampling=sampling
    )
    processor = hf.SmolVLMProcessor(
        hf.SmolVLMImageProcessor(**LONGEST), tok, videos, image_seq_len=4, chat_template=template("<image>")
    )
    return hf.SmolVLMForConditionalGeneration(config), processor


def _qwen_parts(patch: int) -> tuple[Any, dict[str, int], Any]:
    names = {"image_token": "image_pad", "video_token": "video_pad"}
    names |= {"vision_start_token": "vision_start", "vision_end_token": "vision_end"}
    tok = tokenizer(**{role: f"<|{name}|>" for role, name in names.items()})
    ids = {f"{role}_id": _id(tok, f"<|{name}|>") for role, name in names.items()}
    images = hf.Qwen2VLImageProcessor(
        size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112}, patch_size=patch, merge_size=2
    )
    return tok, ids, images


QWEN_TEMPLATE = template("<|vision_start|><|image_pad|><|vision_end|>")


def _rope(**more: Any) -> dict[str, Any]:
    return {"rope_type": "default", "mrope_section": [2, 2, 2], "rope_theta": 10000.0, **more}


def _qwen2_vl() -> Built:
    tok, ids, images = _qwen_parts(PATCH)
    vision = {"depth": 2, "embed_dim": VISION, "hidden_size": TEXT, "num_heads": 2, "mlp_ratio": 2}
    config = hf.Qwen2VLConfig(
        vision_config={**vision, "patch_size": PATCH},
        text_config=decoder(rope_parameters=_rope()),
        **ids,
    )
    videos = hf.Qwen2VLVideoProcessor(patch_size=PATCH)
    processor = hf.Qwen2VLProcessor(images, tok, videos, chat_template=QWEN_TEMPLATE)
    return hf.Qwen2VLForConditionalGeneration(config), processor


QWEN_VISION = {"hidden_size": VISION, "intermediate_size": 64, "out_hidden_size": TEXT, "num_heads": 2}


def _qwen2_5_vl() -> Built:
    tok, ids, images = _qwen_parts(PATCH)
    vision = {**QWEN_VISION, "depth": 2, "patch_size": PATCH, "window_size": 56, "fullatt_block_indexes": [1]}
    config = hf.Qwen2_5_VLConfig(vision_config=vision, text_config=decoder(rope_parameters=_rope()), **ids)
    videos = hf.Qwen2VLVideoProcessor(patch_size=PATCH)
    processor = hf.Qwen2_5_VLProcessor(images, tok, videos, chat_template=QWEN_TEMPLATE)
    return hf.Qwen2_5_VLForConditionalGeneration(config), processor


def _qwen3_vl() -> Built:
    tok, ids, images = _qwen_parts(16)
    vision = {**QWEN_VISION, "depth": 3, "patch_size": 16, "num_position_embeddings": 64}
    config = hf.Qwen3VLConfig(
        vision_config={**vision, "deepstack_visual_indexes": [0, 1]},
        text_config=decoder(head_dim=12, rope_parameters=_rope(mrope_interleaved=True)),
        **ids,
    )
    videos = hf.Qwen3VLVideoProcessor(patch_size=16)
    processor = hf.Qwen3VLProcessor(images, tok, videos, chat_template=QWEN_TEMPLATE)
    return hf.Qwen3VLForConditionalGeneration(config), processor


def _tiling_images() -> Any:
    return hf.GotOcr2ImageProcessor(size=square(56), crop_to_patches=True, min_patches=1, max_patches=4)


def _internvl() -> Built:
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
        image_token_id=_id(tok, "<IMG_CONTEXT>"),
        downsample_ratio=0.5,
    )
    processor = hf.InternVLProcessor(
        _tiling_images(),
        tok,
        hf.InternVLVideoProcessor(size=square(56)),
        image_seq_length=4,
        chat_template=template("<IMG_CONTEXT>\n"),
    )
    return hf.InternVLForConditionalGeneration(config), processor


def _paligemma() -> Built:
    images = hf.SiglipImageProcessor(size=square(56))
    images.image_seq_length = 16
    processor = hf.PaliGemmaProcessor(
        images, tokenizer(image_token="<image>"), chat_template=template("<image>")
    )
    tok = processor.tokenizer
    vocabulary = (len(tok) + 63) // 64 * 64
    config = hf.PaliGemmaConfig(
        vision_config=_siglip(projection_dim=TEXT),
        text_config=hf.GemmaConfig(**decoder(vocabulary, head_dim=12)),
        image_token_index=_id(tok, "<image>"),
        projection_dim=TEXT,
    )
    return hf.PaliGemmaForConditionalGeneration(config), processor


def _gemma3() -> Built:
    names = {"image": "<image_soft_token>", "boi": "<start_of_image>", "eoi": "<end_of_image>"}
    tok = tokenizer(**{f"{role}_token": token for role, token in names.items()})
    text = decoder(head_dim=12, sliding_window=64, layer_types=["sliding_attention", "full_attention"])
    config = hf.Gemma3Config(
        vision_config=_siglip(),
        text_config=hf.Gemma3TextConfig(**text),
        mm_tokens_per_image=4,
        **{f"{role}_token_index": _id(tok, token) for role, token in names.items()},
    )
    images = hf.Gemma3ImageProcessor(size=square(56))
    processor = hf.Gemma3Processor(
        images, tok, image_seq_length=4, chat_template=template("<start_of_image>")
    )
    return hf.Gemma3ForConditionalGeneration(config), processor


def _q_former(**more: Any) -> dict[str, Any]:
    size = {"hidden_size": 40, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return {"vocab_size": 320, **size, "encoder_hidden_size": VISION, "cross_attention_frequency": 1, **more}


def _blip_2() -> Built:
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
        image_token_index=_id(tok, "<image>"),
    )
    processor = hf.Blip2Processor(hf.BlipImageProcessor(size=square(56)), tok, num_query_tokens=8)
    return hf.Blip2ForConditionalGeneration(config), processor


def _instructblip() -> Built:
    tok = tokenizer("<image>")
    config = hf.InstructBlipConfig(
        vision_config=encoder(),
        qformer_config=_q_former(max_position_embeddings=512),
        text_config=hf.LlamaConfig(**decoder()).to_dict(),
        num_query_tokens=8,
        image_token_index=_id(tok, "<image>"),
    )
    images = hf.BlipImageProcessor(size=square(56))
    processor = hf.InstructBlipProcessor(images, tok, tokenizer(cls_sep=True), num_query_tokens=8)
    return hf.InstructBlipForConditionalGeneration(config), processor


def _vipllava() -> Built:
    config = hf.VipLlavaConfig(
        vision_config=_clip(),
        text_config=hf.LlamaConfig(**decoder()),
        vision_feature_layers=[-2, -3],
        vision_feature_layer=[-2, -3],
    )
    images = hf.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size=square(56))
    return hf.VipLlavaForConditionalGeneration(config), images


def _aya_vision() -> Built:
    config = hf.AyaVisionConfig(
        vision_config=_siglip(),
        text_config=hf.Cohere2Config(**decoder(sliding_window=64)),
        downsample_factor=2,
        alignment_intermediate_size=64,
    )
    return hf.AyaVisionForConditionalGeneration(config), _tiling_images()


def _cohere2_vision() -> Built:
    config = hf.Cohere2VisionConfig(
        vision_config=_siglip(),
        text_config=hf.Cohere2Config(**decoder(sliding_window=64)),
        downsample_factor=2,
        alignment_intermediate_size=64,
    )
    images = hf.Cohere2VisionImageProcessor(size=square(56), min_patches=1, max_patches=4)
    return hf.Cohere2VisionForConditionalGeneration(config), images


def _got_ocr2() -> Built:
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


def _deepseek_vl() -> Built:
    config = hf.DeepseekVLConfig(
        vision_config=_siglip().to_dict(), text_config=hf.LlamaConfig(**decoder()).to_dict()
    )
    images = hf.DeepseekVLImageProcessor(size=square(56))
    return hf.DeepseekVLForConditionalGeneration(config), images


def _janus() -> Built:
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


def _florence2() -> Built:
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


def _glm4v() -> Built:
    vision = {**encoder(112), "depth": 2, "num_heads": 2, "out_hidden_size": TEXT}
    config = hf.Glm4vConfig(vision_config=vision, text_config=decoder(rope_parameters=_rope(), head_dim=12))
    images = hf.Glm4vImageProcessor(
        size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112 * 2}, patch_size=PATCH
    )
    return hf.Glm4vForConditionalGeneration(config), images


def _ovis2() -> Built:
    vision = {**encoder(), "vocab_size": 64, "hidden_stride": 2, "num_visual_indicator_tokens": 5}
    text = hf.Qwen2Config(**decoder()).to_dict()
    config = hf.Ovis2Config(vision_config=vision, text_config=text, vocab_size=320, hidden_size=TEXT)
    images = hf.Ovis2ImageProcessor(size=square(56), crop_to_patches=True, min_patches=1, max_patches=4)
    return hf.Ovis2ForConditionalGeneration(config), images


def _llama4() -> Built:
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
    config = hf.Llama4Config(vision_config=vision, text_config=text)
    images = hf.Llama4ImageProcessor(size=square(56), max_patches=4)
    return hf.Llama4ForConditionalGeneration(config), images


def _lfm2_vl() -> Built:
    vision = {**encoder(), "num_patches": 64, "vision_use_head": False}
    del vision["image_size"]
    text = {**decoder(), "layer_types": ["conv", "full_attention"], "block_ff_dim": 64, "conv_dim": TEXT}
    config = hf.Lfm2VlConfig(
        vision_config={"model_type": "siglip2_vision_model", **vision},
        text_config={"model_type": "lfm2", **text},
        projector_hidden_size=64,
        downsample_factor=2,
    )
    images = hf.Lfm2VlImageProcessor(
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


def _aria() -> Built:
    vision = {**encoder(490), "patch_size": 70, "model_type": "idefics3_vision"}
    text = {**decoder(), "moe_num_experts": 2, "moe_topk": 1, "moe_num_shared_experts": 1}
    config = hf.AriaConfig(
        vision_config=vision, text_config=hf.AriaTextConfig(**text), projector_patch_to_query_dict={49: 8}
    )
    return hf.AriaForConditionalGeneration(config), hf.AriaImageProcessor(
        max_image_size=490, min_image_size=70
    )


def _perception_lm() -> Built:
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
    images = hf.PerceptionLMImageProcessor(tile_size=56, max_num_tiles=4, vision_input_type="thumb+tile")
    return hf.PerceptionLMForConditionalGeneration(config), images


def _fast_vlm() -> Built:
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


HARNESS: dict[str, Callable[[], Built]] = {
    "llava": _llava,
    "llava_next": _llava_next,
    "llava_onevision": _llava_onevision,
    "llava_pixtral": _llava_pixtral,
    "mistral3": _mistral3,
    "idefics2": _idefics2,
    "idefics3": _idefics3,
    "smolvlm": _smolvlm,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "internvl": _internvl,
    "paligemma": _paligemma,
    "gemma3": _gemma3,
    "blip_2": _blip_2,
    "instructblip": _instructblip,
}
"""Families with a whole processor; `save` writes them."""

FURTHER: dict[str, Callable[[], Built]] = {
    "vipllava": _vipllava,
    "aya_vision": _aya_vision,
    "cohere2_vision": _cohere2_vision,
    "got_ocr2": _got_ocr2,
    "deepseek_vl": _deepseek_vl,
    "janus": _janus,
    "florence2": _florence2,
    "glm4v": _glm4v,
    "ovis2": _ovis2,
    "llama4": _llama4,
    "lfm2_vl": _lfm2_vl,
    "aria": _aria,
    "perception_lm": _perception_lm,
    "fast_vlm": _fast_vlm,
}
"""Families with a bare image processor, which is all that the adapter needs."""

NAMES: Sequence[str] = (*HARNESS, *FURTHER)


def make(name: str) -> Built:
    """Model in evaluation mode, and processor."""
    state = torch.get_rng_state()
    torch.manual_seed(0)
    model, processor = {**HARNESS, **FURTHER}[name]()
    redraw(model)
    torch.set_rng_state(state)
    return model.eval(), processor


def redraw(model: torch.nn.Module) -> None:
    """Draw the matrices anew, since some initialisations are degenerate (Gemma 3's projector is zero)."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() < 2:
                continue
            drawn = any(
                part in name for part in ("latents", "query_tokens", "embed", "multi_modal_projector.query")
            )
            fan_in = parameter[0].numel() if parameter.dim() > 2 else parameter.shape[-1]
            parameter.normal_(0, 1.0 if drawn else fan_in**-0.5)
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d) and module.kernel_size[0] > module.stride[0]:
                centre(module)


def centre(convolution: torch.nn.Conv2d) -> None:
    """Let the taps over a place's own pixels prevail in an overlapping kernel, as in trained ones.

    With random taps a neighbour may change most, and no layout could be told from a wrong one.
    """
    stride = convolution.stride[0]
    own = int(convolution.padding[0]) + (stride - 1) / 2
    offsets = torch.arange(convolution.kernel_size[0]) - own
    weight = torch.exp(-3 * (offsets / stride) ** 2)
    convolution.weight *= weight[:, None] * weight * len(weight)


def save(name: str, folder: Path) -> Path:
    """Write a checkpoint of a `HARNESS` family to `folder / name` unless it is there, and return its path."""
    path = folder / name
    if not path.exists():
        model, processor = make(name)
        settings = model.generation_config
        settings.pad_token_id, settings.bos_token_id, settings.eos_token_id = 0, 1, 2
        model.save_pretrained(path)
        processor.save_pretrained(path)
    return path
