"""Models of released sizes with random weights, and pictures that cost as much to decode as photographs.

The language models have two layers: none of them ever runs. `sizes` of `tiny` are those of the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers as hf
from PIL import Image

from tests.tiny_vlms import building, idefics, llava, packed
from tests.tiny_vlms.parts import Built, decoder, square, template, token_id, tokenizer

CLIP_B = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 14,
}
CLIP_L = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
}
QWEN_7B = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "out_hidden_size": 3584,
    "num_heads": 16,
    "patch_size": 14,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
QWEN_SMALL = {
    "depth": 12,
    "hidden_size": 512,
    "intermediate_size": 1536,
    "out_hidden_size": 1024,
    "num_heads": 8,
}


def llava_parts(vision: dict[str, int], text: dict[str, int]) -> tuple[hf.LlavaConfig, hf.LlavaProcessor]:
    """Configuration and processor of a LLaVA with this tower; `text` are its decoder's sizes."""
    tok, side = tokenizer(image_token="<image>"), vision["image_size"]
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**vision),
        text_config=hf.LlamaConfig(**text),
        image_token_index=token_id(tok, "<image>"),
        **llava.CLIP_SELECT,
    )
    processor = hf.LlavaProcessor(
        hf.CLIPImageProcessor(size={"shortest_edge": side}, crop_size=square(side)),
        tok,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template("<image>\n"),
    )
    return config, processor


def _llava(vision: dict[str, int], width: int) -> Built:
    config, processor = llava_parts(vision, decoder(hidden_size=width))
    return hf.LlavaForConditionalGeneration(config), processor


def _qwen2_5_vl(vision: dict[str, object], width: int) -> Built:
    tok, ids, _ = packed.qwen_parts(14)
    sections = [width // 4 // 8, width // 4 * 3 // 16, width // 4 * 3 // 16]
    rope = {"rope_type": "default", "mrope_section": sections, "rope_theta": 10000.0}
    config = hf.Qwen2_5_VLConfig(
        vision_config=vision, text_config=decoder(hidden_size=width, rope_parameters=rope), **ids
    )
    images = hf.Qwen2VLImageProcessor(patch_size=14, merge_size=2, temporal_patch_size=2)
    videos = hf.Qwen2VLVideoProcessor(patch_size=14)
    processor = hf.Qwen2_5_VLProcessor(images, tok, videos, chat_template=packed.QWEN_TEMPLATE)
    return hf.Qwen2_5_VLForConditionalGeneration(config), processor


def _idefics2() -> Built:
    tok = tokenizer("<fake_token_around_image>", "<image>", "<end_of_utterance>")
    config = hf.Idefics2Config(
        image_token_id=token_id(tok, "<image>"),
        pad_token_id=0,
        vision_config={
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
            "image_size": 980,
            "patch_size": 14,
        },
        perceiver_config={
            "hidden_size": 4096,
            "resampler_n_latents": 64,
            "resampler_depth": 3,
            "resampler_n_heads": 16,
            "resampler_head_dim": 96,
            "num_key_value_heads": 4,
        },
        text_config=hf.MistralConfig(**decoder(hidden_size=4096, sliding_window=None)),
    )
    images = hf.Idefics2ImageProcessor(
        size={"longest_edge": 448, "shortest_edge": 378}, do_image_splitting=False
    )
    processor = hf.Idefics2Processor(images, tok, image_seq_len=64, chat_template=template("<image>"))
    return hf.Idefics2ForConditionalGeneration(config), processor


@dataclass(frozen=True)
class Geometry:
    """A model's sizes, and lmms-eval's wrapper for it."""

    wrapper: str
    build: Callable[[], Built]
    tiny: Callable[[], Built]
    on_cpu: torch.dtype = torch.float32
    """What its wrapper loads on a processor, so that the bare model computes in the same."""


GEOMETRIES = {
    "llava": Geometry("llava_hf", partial(_llava, CLIP_L, 4096), llava.llava),
    "qwen2_5_vl": Geometry("qwen2_5_vl", partial(_qwen2_5_vl, QWEN_7B, 3584), packed.qwen2_5_vl),
    "idefics2": Geometry("idefics2", _idefics2, idefics.idefics2),
    "llava_clip_b": Geometry("llava_hf", partial(_llava, CLIP_B, 2048), llava.llava),
    "qwen2_5_vl_small": Geometry(
        "qwen2_5_vl", partial(_qwen2_5_vl, QWEN_SMALL, 1024), packed.qwen2_5_vl, torch.bfloat16
    ),
}
"""The first three of released sizes for a GPU, the others as large as two cores bear."""


def write_checkpoint(geometry: Geometry, folder: Path, device: str, tiny: bool) -> None:
    """Random weights that keep pictures apart, bfloat16 on a GPU."""
    torch.manual_seed(0)
    with torch.device(device):
        model, processor = geometry.tiny() if tiny else geometry.build()
    building.redraw(model)
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, 2
    model.generation_config.bos_token_id = 1
    model.to(geometry.on_cpu if device == "cpu" else torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)


def write_photograph(folder: Path, number: int) -> None:
    """One JPEG of 640x480: a smooth picture and noise, in one of ten folders, which are its classes."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3)).astype(np.uint8))
    smooth = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC), dtype=np.float32)
    noisy = smooth + 8 * rng.standard_normal(smooth.shape, dtype=np.float32)
    own = folder / f"class{number % 10}"
    own.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(own / f"{number:07d}.jpg", quality=90)


def write_photographs(folder: Path, count: int) -> list[Path]:
    """So many of them, by all processors."""
    with ProcessPoolExecutor() as processes:
        list(processes.map(partial(write_photograph, folder), range(count), chunksize=32))
    return sorted(folder.rglob("*.jpg"))
