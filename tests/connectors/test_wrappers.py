"""The adapter's features are those that the same lmms-eval wrapper produces in `generate_until`."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dill
import pytest
import torch

from connector_bench.connectors import UnsupportedModel, adapter_for
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.hooks import recording
from connector_bench.connectors.through_wrapper import WrapperFeed, asked
from connector_bench.connectors.transformers_adapter import TransformersAdapter
from connector_bench.workers.crossing import packed_once

models = pytest.importorskip("lmms_eval.models")

CPU = {"device": "cpu", "device_map": "cpu"}
SMALL = {**CPU, "min_pixels": 3136, "max_pixels": 12544}
WRAPPERS: dict[str, tuple[str, str, dict[str, Any], bool]] = {
    "llava": ("llava_hf", "llava", CPU, False),
    "llava simple": ("llava_hf", "llava", {}, True),
    "llava_next": ("llava_hf", "llava_next", CPU, False),
    "llava_onevision": ("llava_hf", "llava_onevision", CPU, False),
    "pixtral": ("llava_hf", "llava_pixtral", CPU, False),
    "qwen2_vl": ("qwen2_vl", "qwen2_vl", SMALL, False),
    "qwen2_5_vl": ("qwen2_5_vl", "qwen2_5_vl", SMALL, False),
    "qwen2_5_vl simple": ("qwen2_5_vl", "qwen2_5_vl", SMALL, True),
    "qwen3_vl": ("qwen3_vl", "qwen3_vl", SMALL, False),
    "qwen3_vl simple": ("qwen3_vl", "qwen3_vl", SMALL, True),
    "internvl": ("internvl_hf", "internvl", {"device": "cpu", "max_patches": 6}, False),
    "idefics2": ("idefics2", "idefics2", {"device": "cpu"}, False),
    "idefics2 split": ("idefics2", "idefics2", {**CPU, "do_image_splitting": True}, False),
    "instructblip": ("instructblip", "instructblip", {"device": "cpu"}, False),
    "gemma3": ("gemma3", "gemma3", CPU, False),
    "gemma4": ("gemma4", "gemma4", {**CPU, "max_soft_tokens": 140}, False),
    "mistral3": ("mistral3_vl", "mistral3", CPU, False),
}
PICTURES = [coloured_picture(112, 112), coloured_picture(112, 80, 1), coloured_picture(61, 140, 2)]


@pytest.fixture(scope="module")
def wrapper(checkpoint: Callable[[str], Path]) -> Callable[[str], Any]:
    held: dict[str, Any] = {}

    def load(key: str) -> Any:
        if key not in held:
            held.clear()
            name, model, arguments, simple = WRAPPERS[key]
            kind = models.get_model(name, force_simple=simple)
            held[key] = kind(pretrained=str(checkpoint(model)), batch_size=1, **arguments)
        return held[key]

    return load


def seen_in_generate(
    lm: Any, adapter: TransformersAdapter, picture: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows at the connector while the wrapper answers, in the module's own order."""
    with asked(lm, [picture]) as requests, recording(adapter._tapped) as calls:
        if adapter.family.prompted:
            requests[0].args = ("", *requests[0].args[1:])
        lm.generate_until(requests)
    folded = adapter._laying_out.folded
    pre = [c.pre[0].reshape(-1, c.pre[0].shape[-1] // folded).float() for c in calls]
    post = [c.post[0].reshape(-1, c.post[0].shape[-1]).float() for c in calls]
    return torch.cat(pre, -1), torch.cat(post, -1)


def assert_same_tokens(ours: torch.Tensor, theirs: torch.Tensor, precision: torch.dtype) -> None:
    """Each of our tokens is one of theirs, no two the same; equal to one rounding of the precision the model runs in.

    Some processors' half-precision kernels round differently for another number of pictures.
    """
    rounding = max(2e-5, torch.finfo(precision).eps)
    distances = (ours[:, None] - theirs[None]).norm(dim=-1)
    nearest, which = distances.min(dim=1)
    assert float(nearest.max()) <= rounding * float(theirs.norm(dim=-1).mean())
    assert len(set(which.tolist())) == len(ours)


@pytest.mark.parametrize("key", WRAPPERS)
def test_features_are_those_of_generate_until(key: str, wrapper: Callable[[str], Any]) -> None:
    lm = wrapper(key)
    adapter = adapter_for(lm)
    assert isinstance(adapter, TransformersAdapter)
    assert not isinstance(adapter.feed, WrapperFeed)
    for picture, pair in zip(PICTURES, adapter.capture(PICTURES), strict=True):
        pre, post = seen_in_generate(lm, adapter, picture)
        assert_same_tokens(pair.pre, pre, lm._model.dtype)
        assert_same_tokens(pair.post, post, lm._model.dtype)
        if not key.startswith(("llava_", "idefics2", "instructblip")):
            assert len(pair.pre) == len(pre) or key == "gemma4"
            assert len(pair.post) == len(post)
    if key == "gemma4":  # its processor samples videos by a method of the wrapper, which holds the model
        with pytest.raises(pickle.PicklingError, match="holds a Gemma4ForConditionalGeneration"):
            packed_once([adapter.preparer])
        return
    named = [(str(number), picture) for number, picture in enumerate(PICTURES)]
    (crossed,) = dill.loads(packed_once([adapter.preparer]))
    for fed, own in zip(crossed(named).inputs, adapter.prepare(named).inputs, strict=True):
        for name, value in own.inputs.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(fed.inputs[name], value)


@pytest.mark.parametrize("key", ["qwen2_5_vl", "llava_next", "gemma3", "internvl"])
def test_an_unknown_wrapper_prepares_its_pictures_itself(
    key: str, wrapper: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = wrapper(key)
    expected = adapter_for(lm).capture(PICTURES)
    documents, cache_hook = lm.task_dict, lm.cache_hook
    monkeypatch.setattr("connector_bench.connectors.registry.preparation_of", lambda lm: None)
    adapter = adapter_for(lm)
    assert isinstance(adapter, TransformersAdapter)
    assert isinstance(adapter.feed, WrapperFeed)
    for ours, theirs in zip(adapter.capture(PICTURES), expected, strict=True):
        torch.testing.assert_close(ours.pre, theirs.pre)
        torch.testing.assert_close(ours.post, theirs.post)
    assert lm.task_dict is documents
    assert lm.cache_hook is cache_hook
    assert "generate" not in vars(lm._model)


def test_hooks_while_the_wrapper_generates(
    wrapper: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = wrapper("llava")
    expected = adapter_for(lm).capture(PICTURES)
    monkeypatch.setenv(
        "CONNECTOR_BENCH_CONNECTOR",
        "{module: model.multi_modal_projector, layout: grid, through_wrapper: true}",
    )
    adapter = adapter_for(lm)
    assert "the user's" in adapter.info.assumptions[0]
    for ours, theirs in zip(adapter.capture(PICTURES), expected, strict=True):
        torch.testing.assert_close(ours.pre, theirs.pre)
        torch.testing.assert_close(ours.post, theirs.post)


def test_a_wrapper_without_a_model_is_refused() -> None:
    class Api:
        is_simple = False

    with pytest.raises(UnsupportedModel, match="API models"):
        adapter_for(Api())


logging.getLogger("PIL").setLevel(logging.WARNING)
