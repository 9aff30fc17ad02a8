"""What capture does not do: run the language model, leave hooks behind, hold more than a few batches."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image

from connector_bench.connectors import adapter_for_model
from connector_bench.connectors.capture import _not_finite_side, stream
from connector_bench.connectors.coloured import coloured_picture
from tests.tiny_vlms import HARNESS

Tiny = Callable[[str], tuple[Any, Any]]


def hooks_of(model: torch.nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def language_layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    parts = ("language_model", "text_model")
    return [m for path, m in model.named_modules() if any(p in path.split(".") for p in parts)]


@pytest.mark.parametrize("name", HARNESS)
def test_the_language_model_never_runs(name: str, tiny: Tiny) -> None:
    model, processor = tiny(name)

    def refuse(*args: Any) -> None:
        raise AssertionError("the language model ran")

    layers = language_layers(model)
    assert layers
    handles = [layer.register_forward_pre_hook(refuse) for layer in layers]
    try:
        assert adapter_for_model(model, processor, name).capture([coloured_picture(112, 80)])
    finally:
        for handle in handles:
            handle.remove()


def test_tokens_are_fp32_on_the_cpu_and_may_be_trained_on(tiny: Tiny) -> None:
    model, processor = tiny("qwen2_5_vl")
    (pair,) = adapter_for_model(model.bfloat16(), processor).capture([coloured_picture(112, 80)])
    model.float()
    for tokens in (pair.pre, pair.post, pair.pre_normed):
        assert tokens is not None
        assert tokens.dtype == torch.float32
        assert tokens.device.type == "cpu"
        assert not tokens.is_inference()
    (torch.nn.Linear(48, 32)(pair.post[:1]) - pair.pre[:1]).sum().backward()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_hooks_are_gone_after_success_failure_and_interrupt(tiny: Tiny, error: type[BaseException]) -> None:
    model, processor = tiny("llava")
    before = hooks_of(model)
    adapter = adapter_for_model(model, processor)
    adapter.capture([coloured_picture(112, 80)])
    assert hooks_of(model) == before

    def fail(*args: Any) -> None:
        raise error("stop")

    handle = model.model.multi_modal_projector.linear_1.register_forward_pre_hook(fail)
    with pytest.raises(error, match="stop"):
        adapter.capture([coloured_picture(112, 80)])
    handle.remove()
    assert hooks_of(model) == before


@pytest.mark.parametrize("workers", [1, 3])
def test_a_stream_is_a_few_batches_ahead_at_most(
    workers: int, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONNECTOR_BENCH_WORKERS", str(workers))
    adapter = adapter_for_model(*tiny("llava"))
    made: list[weakref.ref[Image.Image]] = []
    most, read = 0, 0

    def pictures() -> Iterator[tuple[str, Image.Image]]:
        nonlocal read
        for read in range(1, 46):
            picture = coloured_picture(56, 56, read)
            made.append(weakref.ref(picture))
            yield f"image {read}", picture

    names = []
    for batch in stream(adapter, pictures(), batch_size=4):
        most = max(most, sum(picture() is not None for picture in made))
        names += batch.images
        assert read <= len(names) + 4 * (workers + 2)
    assert names == [f"image {i}" for i in range(1, 46)]
    assert most <= 4 * (workers + 2) + 1


@pytest.mark.parametrize("empty", ["pre_normed", "untrained"])
def test_an_empty_side_hides_no_nan_on_another(empty: str, tiny: Tiny) -> None:
    adapter = adapter_for_model(*tiny("qwen2_5_vl"))
    adapter.add_untrained((0,))
    tokens = adapter.run(
        adapter.prepare([("a", coloured_picture(112, 80)), ("b", coloured_picture(80, 112))])
    )
    none = tokens.post[:0]
    part = replace(tokens, **{empty: none if empty == "pre_normed" else (none,)})
    assert _not_finite_side(part) is None
    part.post[-1, 3] = torch.inf
    assert _not_finite_side(part) == ("post (the connector's output)", torch.float32)
    part.pre[0, 0] = torch.nan
    assert _not_finite_side(part) == ("pre (the connector's input)", torch.float32)


def test_a_batch_has_at_least_one_picture(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="batch_size is 0"):
        list(stream(adapter_for_model(*tiny("llava")), [], batch_size=0))


def test_pictures_must_be_rgb(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="mode 'L'"):
        adapter_for_model(*tiny("llava")).capture([coloured_picture(56, 56).convert("L")])


def test_a_model_in_training_is_refused(tiny: Tiny) -> None:
    model, processor = tiny("llava")
    try:
        with pytest.raises(ValueError, match="training mode"):
            adapter_for_model(model.train(), processor)
    finally:
        model.eval()


def test_what_is_said_of_a_connector(tiny: Tiny) -> None:
    model, processor = tiny("qwen3_vl")
    info = adapter_for_model(model, processor, "my/model").info
    assert (info.model, info.family, info.connector, info.dtype) == (
        "my/model",
        "qwen3_vl",
        "patch merger",
        "float32",
    )
    assert info.modules == (
        "model.visual.merger",
        "model.visual.deepstack_merger_list.0",
        "model.visual.deepstack_merger_list.1",
    )
    merger = model.model.visual.merger
    mergers = [merger, *model.model.visual.deepstack_merger_list]
    assert info.parameters == sum(p.numel() for m in mergers for p in m.parameters())
    again = adapter_for_model(model, processor, "my/model").info
    assert again == info
    with torch.no_grad():
        merger.linear_fc1.bias[0] += 1
    assert adapter_for_model(model, processor).info.weights_sha256 != info.weights_sha256
    with torch.no_grad():
        merger.linear_fc1.bias[0] -= 1
