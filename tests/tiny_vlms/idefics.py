"""Idefics and SmolVLM: a resampler, and pixel shuffles over tiles."""

from __future__ import annotations

import transformers as hf

from tests.tiny_vlms.parts import TEXT, Built, decoder, encoder, template, token_id, tokenizer


def idefics2() -> Built:
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
        image_token_id=token_id(tok, "<image>"),
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


def idefics3() -> Built:
    tok = tokenizer(
        "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *TILE_TOKENS
    )
    config = hf.Idefics3Config(
        image_token_id=token_id(tok, "<image>"),
        pad_token_id=0,
        scale_factor=2,
        vision_config=encoder(),
        text_config=hf.LlamaConfig(**decoder()),
    )
    images = hf.Idefics3ImageProcessor(**LONGEST)
    processor = hf.Idefics3Processor(images, tok, image_seq_len=4, chat_template=template("<image>"))
    return hf.Idefics3ForConditionalGeneration(config), processor


def smolvlm() -> Built:
    tok = tokenizer(
        *TILE_TOKENS,
        image_token="<image>",
        fake_image_token="<fake_token_around_image>",
        end_of_utterance_token="<end_of_utterance>",
        global_image_token="<global-img>",
        video_token="<video>",
    )
    config = hf.SmolVLMConfig(
        image_token_id=token_id(tok, "<image>"),
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
