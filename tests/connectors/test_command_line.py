"""`lmms-eval --model WRAPPER --tasks knn_preservation` on tiny checkpoints, through the real command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import run_here

pytest.importorskip("lmms_eval.models")

CPU = "device=cpu,device_map=cpu"
SMALL = f"{CPU},min_pixels=3136,max_pixels=12544"
IMAGES = 12
RUNS: dict[str, tuple[Any, ...]] = {
    "llava": ("llava_hf", "llava", "", 1),
    "llava simple": ("llava_hf", "llava", "", 1, "--force_simple"),
    "llava_next": ("llava_hf", "llava_next", "device=cpu", 1),
    "llava_onevision": ("llava_hf", "llava_onevision", CPU, 1),
    "pixtral": ("llava_hf", "llava_pixtral", "device_map=", 1, "--device", "cpu"),
    "qwen2_vl": ("qwen2_vl", "qwen2_vl", SMALL, 2),
    "qwen2_5_vl": ("qwen2_5_vl", "qwen2_5_vl", SMALL, 2),
    "qwen3_vl": ("qwen3_vl", "qwen3_vl", SMALL, 2),
    "internvl": ("internvl_hf", "internvl", "device=cpu,max_patches=4", 1),
    "idefics2": ("idefics2", "idefics2", "", 2),
    "instructblip": ("instructblip", "instructblip", "device=cpu", 1),
    "gemma3": ("gemma3", "gemma3", CPU, 2),
    "mistral3": ("mistral3_vl", "mistral3", CPU, 2),
}
"""Wrapper, checkpoint, model arguments, batch size and flags; without arguments the command is README's own."""


@pytest.mark.parametrize("key", RUNS)
def test_every_wrapper(key: str, checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    model, name, arguments, batch_size, *flags = RUNS[key]
    outcome = run_here(
        tmp_path,
        *("--model", model, "--model_args", f"pretrained={checkpoint(name)},{arguments}".rstrip(",")),
        *("--tasks", "knn_preservation", "--limit", str(IMAGES), "--batch_size", str(batch_size), *flags),
    )
    figures, record = outcome.figures("knn_preservation"), outcome.record("knn_preservation")
    assert "error" not in record, record
    assert figures["n_images"] == IMAGES
    assert 0 <= figures["knor_1"] <= 1
    assert record["connector"]["family"] in (name, name.removesuffix("_pixtral"))
    assert record["connector"]["assumptions"] in ([], ())
    assert len(outcome.samples("knn_preservation")) == IMAGES
