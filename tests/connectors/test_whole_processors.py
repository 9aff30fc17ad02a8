"""A whole processor, with its tokenizer, gives the tokens that its image processor gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf

from connector_bench.connectors import adapter_for_model
from connector_bench.connectors.coloured import coloured_picture
from tests.tiny_vlms.parts import template, tokenizer

Tiny = Callable[[str], tuple[Any, Any]]

SPECIAL = {"image_token": "<image>", "video_token": "<video>", "audio_token": "<audio>"}
GEMMA = {"boi_token": "<boi>", "eoi_token": "<eoi>", "image_token": "<image>"}
QUESTIONS = template("<boi>")


def processor(name: str, images: Any) -> Any:
    """The family's own processor around its image processor."""
    kind = "GPT2" if name == "phi4_multimodal" else "PreTrained"
    tok = tokenizer(kind=kind, **(GEMMA if name == "shieldgemma2" else SPECIAL))
    if name == "pi0":
        images.image_seq_length = 16
    others: dict[str, dict[str, Any]] = {
        "granite_docling": {"image_seq_len": 4},
        "nemotron_h_omni": {"feature_extractor": hf.WhisperFeatureExtractor()},
        "phi4_multimodal": {"audio_processor": hf.Phi4MultimodalFeatureExtractor()},
        "shieldgemma2": {"chat_template": QUESTIONS, "image_seq_length": 4},
    }
    parts = others.get(name, {})
    videos = CLASSES[name].replace("Processor", "VideoProcessor")
    if hasattr(hf, videos):
        parts["video_processor"] = getattr(hf, videos)()
    return getattr(hf, CLASSES[name])(image_processor=images, tokenizer=tok, **parts)


CLASSES = {
    "granite_docling": "GraniteDoclingProcessor",
    "kosmos-2": "Kosmos2Processor",
    "muse_glimmer": "MuseGlimmerProcessor",
    "nemotron_h_omni": "NemotronH_Omni_Reasoning_V3Processor",
    "phi4_multimodal": "Phi4MultimodalProcessor",
    "pi0": "PI0Processor",
    "shieldgemma2": "ShieldGemma2Processor",
    "step3p7": "Step3p7Processor",
    "unlimited_ocr": "UnlimitedOcrProcessor",
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_whole_processor_changes_no_token(name: str, tiny: Tiny) -> None:
    model, images = tiny(name)
    pictures = [coloured_picture(112, 80), coloured_picture(70, 140, 1)]
    alone = adapter_for_model(model, images, name).capture(pictures)
    whole = adapter_for_model(model, processor(name, images), name).capture(pictures)
    for ours, theirs in zip(whole, alone, strict=True):
        assert ours.layout == theirs.layout
        torch.testing.assert_close(ours.pre, theirs.pre)
        torch.testing.assert_close(ours.post, theirs.post)
