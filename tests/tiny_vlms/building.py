"""From a configuration to a model whose random weights keep pictures and places apart, and to a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from timm.layers import Conv2dSame

from tests.tiny_vlms.parts import Built

DRAWN_WIDE = ("latents", "query_tokens", "embed", "multi_modal_projector.query")
"""Parts of the names of parameters that are vectors in rows, not maps."""

PHIS_TOWERS = re.compile(r"embed_tokens_extend\.image_embed|vision_embed_tokens")
"""Names within which whole towers lie."""


def make(build: Callable[[], Built]) -> Built:
    """Model in evaluation mode with weights drawn anew, and processor."""
    state = torch.get_rng_state()
    torch.manual_seed(0)
    model, processor = build()
    redraw(model)
    torch.set_rng_state(state)
    return model.eval(), processor


def redraw(model: torch.nn.Module) -> None:
    """Draw the matrices anew, since some initialisations are degenerate (Gemma 3's projector is zero).

    Vectors keep their initialisation, those of shape [channels, 1, 1] as well: a layer scale drawn like a matrix would
    let what attention gathers from other places outweigh a place's own.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() < 2 or parameter[0].numel() == 1:
                continue
            fan_in = parameter[0].numel() if parameter.dim() > 2 else parameter.shape[-1]
            path = PHIS_TOWERS.sub("", name)
            wide = any(part in path for part in DRAWN_WIDE)
            parameter.normal_(0, 1.0 if wide else fan_in**-0.5)
        overlapping = [
            module
            for module in model.modules()
            if isinstance(module, torch.nn.Conv2d) and module.kernel_size[0] > module.stride[0]
        ]
        for convolution in overlapping:
            centre(convolution, sharpness=max(3.0, 0.35 * len(overlapping)))


def centre(convolution: torch.nn.Conv2d, sharpness: float) -> None:
    """Let the taps over a place's own pixels prevail in an overlapping kernel, as in trained ones.

    With random taps a neighbour may change most, and no layout could be told from a wrong one. What the layers of a
    stack spread adds up (the variances of their kernels), so a deeper stack needs sharper kernels: FastVLM's has 17.
    """
    stride, kernel = convolution.stride[0], convolution.kernel_size[0]
    lead = (kernel - stride) // 2 if isinstance(convolution, Conv2dSame) else int(convolution.padding[0])
    own = lead + (stride - 1) / 2
    offsets = torch.arange(kernel) - own
    weight = torch.exp(-sharpness * (offsets / stride) ** 2)
    convolution.weight *= weight[:, None] * weight * len(weight)


def save(build: Callable[[], Built], path: Path) -> Path:
    """Write model and processor to `path` unless it is there, and return it."""
    if not path.exists():
        model, processor = build()
        settings = model.generation_config
        settings.pad_token_id, settings.bos_token_id, settings.eos_token_id = 0, 1, 2
        model.save_pretrained(path)
        processor.save_pretrained(path)
    return path
