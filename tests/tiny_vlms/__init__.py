"""Tiny vision-language models of transformers' real classes, with random weights, built in milliseconds.

Vision width 32, text width 48, patches of 14 pixels unless a class fixes its own. `make(name)` returns a model in
evaluation mode and its processor (a bare image processor for those of `FURTHER`); `save(name, folder)` writes a
checkpoint that `from_pretrained` and lmms-eval's wrappers load.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import transformers
from packaging.version import Version
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from tests.tiny_vlms import (
    building,
    further,
    idefics,
    llava,
    merged_blocks,
    merging,
    packed,
    pooling,
    viewing,
    with_processor,
)
from tests.tiny_vlms.parts import Built, decoder

__all__ = ["FURTHER", "HARNESS", "NAMES", "Built", "decoder", "make", "save"]

HARNESS: dict[str, Callable[[], Built]] = {
    "llava": llava.llava,
    "llava_next": llava.llava_next,
    "llava_onevision": llava.llava_onevision,
    "llava_pixtral": llava.llava_pixtral,
    "mistral3": llava.mistral3,
    "idefics2": idefics.idefics2,
    "idefics3": idefics.idefics3,
    "smolvlm": idefics.smolvlm,
    "qwen2_vl": packed.qwen2_vl,
    "qwen2_5_vl": packed.qwen2_5_vl,
    "qwen3_vl": packed.qwen3_vl,
    "internvl": with_processor.internvl,
    "paligemma": with_processor.paligemma,
    "gemma3": with_processor.gemma3,
    "blip_2": with_processor.blip_2,
    "instructblip": with_processor.instructblip,
    "gemma4": pooling.gemma4,
}
"""Families with a whole processor; `save` writes them."""

FURTHER: dict[str, Callable[[], Built]] = {
    "vipllava": llava.vipllava,
    "qwen3_vl_moe": packed.qwen3_vl_moe,
    "qwen3_5": packed.qwen3_5,
    "qwen3_5_moe": packed.qwen3_5_moe,
    "glm4v": packed.glm4v,
    "glm4v_moe": packed.glm4v_moe,
    "glm46v": packed.glm46v,
    "aya_vision": further.aya_vision,
    "cohere2_vision": further.cohere2_vision,
    "got_ocr2": further.got_ocr2,
    "deepseek_vl": further.deepseek_vl,
    "janus": further.janus,
    "florence2": further.florence2,
    "ovis2": further.ovis2,
    "llama4": further.llama4,
    "lfm2_vl": further.lfm2_vl,
    "aria": further.aria,
    "perception_lm": further.perception_lm,
    "fast_vlm": further.fast_vlm,
    **merging.FAMILIES,
    **{name: build for name, build in pooling.FAMILIES.items() if name not in HARNESS},
    **merged_blocks.MERGING,
    **viewing.VIEWING,
}
"""Families with a bare image processor, which is all that the adapter needs."""

NAMES: Sequence[str] = (*HARNESS, *FURTHER)

RECENT = (*merging.FAMILIES, *pooling.FAMILIES, *merged_blocks.MERGING, *viewing.VIEWING)
"""Families under the name of their type, which older versions of transformers may lack."""

SINCE = {"fast_vlm": "5.0", "minicpmv4_6": "5.20", "glm46v": "5.0", "qwen3_5": "5.2", "qwen3_5_moe": "5.2"}
"""The first transformers that has a family, where that is later than the oldest that we run on; MiniCPM-V 4.6
refuses tiles of unequal size before."""


def make(name: str) -> Built:
    """Model in evaluation mode, and processor; skips the test where the installed transformers lacks the family."""
    if Version(transformers.__version__) < Version(SINCE.get(name, "0")):
        pytest.skip(f"transformers {transformers.__version__} has no {name}, which came with {SINCE[name]}")
    known = {
        kind.replace("-", "").replace(".", "_") for kind in CONFIG_MAPPING_NAMES
    }  # kosmos-2.5: kosmos2_5
    if name in RECENT and name not in known | set(CONFIG_MAPPING_NAMES):
        pytest.skip(f"transformers {transformers.__version__} has no {name}")
    return building.make({**HARNESS, **FURTHER}[name])


def save(name: str, folder: Path) -> Path:
    """Write a checkpoint of a `HARNESS` family to `folder / name` unless it is there, and return its path."""
    return building.save(lambda: make(name), folder / name)
