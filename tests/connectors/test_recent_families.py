"""Families of transformers 5: connector tokens are those that the language model gets, and what is special to some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from connector_bench.connectors import adapter_for, adapter_for_model, declared_families
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.family import single
from connector_bench.connectors.planted import Side, planted_patches
from connector_bench.connectors.through_wrapper import WrapperFeed
from connector_bench.connectors.transformers_adapter import TransformersAdapter
from tests.tiny_vlms import make, merging, pooling

Tiny = Callable[[str], tuple[Any, Any]]
PICTURES = [coloured_picture(112, 80, 1), coloured_picture(70, 140, 2)]


def handed_over(adapter: TransformersAdapter) -> torch.Tensor:
    """What `get_image_features` gives the language model for all pictures, deepstack beside it, in its order."""
    adapter.capture(PICTURES)  # the places are tried once, in runs of their own
    seen: list[Any] = []
    run = adapter._run
    adapter._run = lambda model, inputs: seen.append(run(model, inputs))
    adapter.run(adapter.prepare([(str(i), picture) for i, picture in enumerate(PICTURES)]))
    adapter._run = run
    sides = []
    for output in seen:
        if isinstance(output, tuple) and isinstance(
            output[1], list
        ):  # before transformers 5: tokens and deepstack
            layers = [output[0], *output[1]]
        else:
            deepstack = getattr(output, "deepstack_features", None) or ()
            layers = [getattr(output, "pooler_output", output), *deepstack]
        sides.append(torch.cat([_rows(layer) for layer in layers], dim=-1))
    return torch.cat(sides).float()


def _rows(features: Any) -> torch.Tensor:
    if isinstance(features, torch.Tensor):
        return features.reshape(-1, features.shape[-1])
    return torch.cat([_rows(part) for part in features])


@pytest.mark.parametrize("name", [*merging.FAMILIES, *pooling.FAMILIES])
def test_connector_tokens_are_what_the_language_model_gets(name: str, tiny: Tiny) -> None:
    model, processor = tiny(name)
    adapter = adapter_for_model(model, processor, name)
    assert isinstance(adapter, TransformersAdapter)
    theirs = handed_over(adapter)
    ours = torch.cat([pair.post for pair in adapter.capture(PICTURES)])
    distances = torch.cdist(ours.double(), theirs.double())
    nearest, which = distances.min(dim=1)
    assert float(nearest.max()) < 1e-5 * float(theirs.norm(dim=1).max())
    order = which.sort().values if name == "molmo2" else which
    if name == "hunyuan_vl":
        assert bool((order.diff() > 0).all())
        assert len(theirs) - len(ours) == sum(
            pair.layout.tiles[0].post_grid[0] + 2  # type: ignore[index]
            for pair in adapter.capture(PICTURES)
        )
    else:
        assert torch.equal(order, torch.arange(len(theirs)))


@pytest.mark.parametrize("name", ["qwen2_5_omni", "qwen3_omni_moe"])
def test_the_reading_part_of_an_omni_model_is_measured_as_within_the_whole(name: str, tiny: Tiny) -> None:
    model, processor = tiny(name)
    whole = adapter_for_model(model, processor)
    thinker = adapter_for_model(model.thinker, processor)
    assert whole.info.modules == tuple(f"thinker.{path}" for path in thinker.info.modules)
    for ours, theirs in zip(whole.capture(PICTURES), thinker.capture(PICTURES), strict=True):
        assert ours.layout == theirs.layout
        assert torch.equal(ours.pre, theirs.pre)
        assert torch.equal(ours.post, theirs.post)


class OwnWrapper:
    """A user's wrapper of lmms-eval, unknown to this package, around a whole omni model."""

    is_simple = True

    def __init__(self, model: Any, processor: Any) -> None:
        self._model, self.processor, self.task_dict, self.cache_hook = model, processor, {}, None

    def generate_until(self, requests: list[Any]) -> list[str]:
        for request in requests:
            _, _, doc_to_visual, doc_id, task, split = request.args
            pictures = doc_to_visual(self.task_dict[task][split][doc_id])
            self._model.generate(**self.processor(images=pictures, return_tensors="pt"))
        return [""] * len(requests)


def test_an_omni_model_in_an_unknown_wrapper_does_not_generate(tiny: Tiny) -> None:
    model, processor = tiny("qwen2_5_omni")
    adapter = adapter_for(OwnWrapper(model, processor))
    assert isinstance(adapter, TransformersAdapter)
    assert isinstance(adapter.feed, WrapperFeed)
    expected = adapter_for_model(model, processor).capture(PICTURES)
    for ours, theirs in zip(adapter.capture(PICTURES), expected, strict=True):
        assert ours.layout == theirs.layout
        torch.testing.assert_close(ours.pre, theirs.pre)
        torch.testing.assert_close(ours.post, theirs.post)


def shares(model: Any, processor: Any, size: tuple[int, int]) -> dict[Side, float]:
    adapter = adapter_for_model(model, processor)
    picture = coloured_picture(*size, seed=3)
    sides: tuple[Side, ...] = ("pre", "post")
    return {side: planted_patches(adapter, picture, side, batch_size=16, limit=24).share for side in sides}


def test_gemma4_that_standardises_what_it_pools() -> None:
    model, processor = make("gemma4")
    tower = model.model.vision_tower
    tower.config.standardize = True
    width = tower.config.hidden_size
    tower.register_buffer("std_bias", torch.full((width,), 0.5))
    tower.register_buffer("std_scale", torch.full((width,), 2.0))
    adapter = adapter_for_model(model, processor)
    assert adapter.add_untrained((0,)) is None
    (pair,) = adapter.capture([PICTURES[0]])
    assert pair.pre.shape[0] == 4 * pair.post.shape[0]
    assert not torch.equal(pair.untrained[0], pair.post)
    assert shares(model, processor, (140, 60)) == {"pre": 1, "post": 1}


@pytest.mark.parametrize(("name", "mode"), [("minicpmv4_6", "4x"), ("minicpm_ocr", "16x")])
def test_minicpm_with_and_without_the_merging_inside_its_tower(name: str, mode: str) -> None:
    model, processor = make(name)
    model.config.downsample_mode = processor.downsample_mode = mode
    assert shares(model, processor, (60, 170)) == {"pre": 1, "post": 1}
    (pair,) = adapter_for_model(model, processor).capture([coloured_picture(60, 170)])
    rows, columns = pair.layout.tiles[0].pre_grid
    assert (rows * (1 if mode == "4x" else 2)) % 2 == 0
    assert pair.layout.tiles[0].post_grid == (rows // 2, columns // 2)
    assert "the tower itself merges 2x2 patches" in adapter_for_model(model, processor).info.remarks


def test_minicpm_that_merges_again_is_not_claimed() -> None:
    config = make("minicpmv4_6")[0].config
    assert single(declared_families(), config) is not None
    config.merger_times = 2
    assert single(declared_families(), config) is None


def test_molmo2_windows_that_lie_unevenly_over_the_edges() -> None:
    model, processor = make("molmo2")
    processor.pooling_size = [4, 4]
    adapter = adapter_for_model(model, processor)
    (pair,) = adapter.capture([coloured_picture(112, 112)])
    view = [tile for tile in pair.layout.tiles if tile.box[0] == 0 and tile.box[1] == 0]
    assert view[0].pre_grid == (3, 3), (
        "five patches in two windows of four: one is missing before, two behind"
    )
    assert view[0].post_grid == (1, 1)
    assert len(pair.pre) == 25 + 64
    assert planted_patches(adapter, coloured_picture(112, 112, 1), "pre", batch_size=16).share == 1


@pytest.mark.parametrize("name", ["kimi_k25", "glm5_next"])
def test_padding_lies_outside_the_picture(name: str, tiny: Tiny) -> None:
    model, processor = tiny(name)
    (pair,) = adapter_for_model(model, processor).capture([coloured_picture(70, 140)])
    left, top, right, bottom = pair.layout.tiles[0].box
    assert (left, top) == (0, 0)
    assert max(right, bottom) > 1.05


def test_the_order_between_two_modules_is_followed(tiny: Tiny) -> None:
    model, processor = tiny("hyperclovax_vision_v2")
    adapter = adapter_for_model(model, processor)
    assert isinstance(adapter, TransformersAdapter)
    adapter._tapped = [replace(tap, between_modules=None) for tap in adapter._tapped]
    assert adapter.add_untrained((0,)) is None
    first, second = (adapter.capture([picture])[0].untrained[0] for picture in PICTURES)
    assert first.shape[1] == second.shape[1]
    assert not torch.equal(first[: len(second)], second[: len(first)])
