"""Change the pixels under one token: that token changes most. Every family, pictures of unequal size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from connector_bench.connectors import adapter_for_model
from connector_bench.connectors.base import Prepared
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.family import Batch, Family, Place, Placement
from connector_bench.connectors.layouts import square
from connector_bench.connectors.planted import Planted, Side, planted_patches
from connector_bench.connectors.transformers_adapter import TransformersAdapter
from connector_bench.types import TokenBatch, TokenLayout
from tests.tiny_vlms import NAMES, make

SIZES = ((112, 112), (112, 80), (70, 140))
ALIGNED = dict.fromkeys(("deepseek_vl", "janus"), ((112, 112), (112, 56), (56, 112)))
"""Padded to a square: a patch with a single row of picture in it would move far for that row."""
ALIGNED["molmo2"] = ((112, 112), (154, 70), (70, 154))
"""Crops of whole patches: its pooling attends without a norm, and a few pixels of a neighbour move it far."""

Tiny = Callable[[str], tuple[Any, Any]]


def planted(adapter: Any, size: tuple[int, int], side: Side) -> Planted:
    return planted_patches(adapter, coloured_picture(*size, seed=size[1]), side, batch_size=16, limit=24)


@pytest.mark.parametrize("name", NAMES)
def test_the_planted_token_changes_most(name: str, tiny: Tiny) -> None:
    adapter = adapter_for_model(*tiny(name), name)
    for size in ALIGNED.get(name, SIZES):
        layout = adapter.capture([coloured_picture(*size)])[0].layout
        for side in ("pre", "post") if layout.has_places else ("pre",):
            result = planted(adapter, size, side)
            assert result.cells >= 4
            assert result.share == 1, (size, side, result)


@pytest.mark.parametrize("size", [(112, 112), (112, 80), (124, 68)])
def test_idefics2_cut_in_quarters(size: tuple[int, int]) -> None:
    model, processor = make("idefics2")
    processor.image_processor.do_image_splitting = True
    adapter = adapter_for_model(model, processor)
    (pair,) = adapter.capture([coloured_picture(*size)])
    assert len(pair.layout.tiles) == 5
    assert planted(adapter, size, "pre").share == 1


def test_video_llama_3_shrinks_blocks_where_its_processor_says_so() -> None:
    model, processor = make("video_llama_3")
    processor.merge_size = 2
    adapter = adapter_for_model(model, processor)
    for size in SIZES:
        (pair,) = adapter.capture([coloured_picture(*size)])
        assert len(pair.pre) == 4 * len(pair.post)
        assert planted(adapter, size, "pre").share == planted(adapter, size, "post").share == 1


@pytest.mark.parametrize("name", NAMES)
def test_batches_of_unequal_pictures_are_split_by_picture(name: str, tiny: Tiny) -> None:
    adapter = adapter_for_model(*tiny(name), name)
    pictures = [coloured_picture(*size, seed) for seed, size in enumerate([*SIZES, (126, 67)])]
    together = adapter.capture(pictures)
    for picture, pair in zip(pictures, together, strict=True):
        (alone,) = adapter.capture([picture])
        assert pair.layout == alone.layout
        assert len(pair.pre) == pair.layout.n_pre
        assert len(pair.post) == pair.layout.n_post
        np.testing.assert_allclose(pair.pre, alone.pre, atol=2e-5)
        np.testing.assert_allclose(pair.post, alone.post, atol=2e-5)


def as_stored(family: Family) -> Place:
    """The family's layout without its permutation: tokens in the order of the module."""

    def place(batch: Batch) -> list[Placement]:
        return [Placement(p.layout, np.sort(p.pre_rows), np.sort(p.post_rows)) for p in family.place(batch)]

    return place


def whole_picture_first(family: Family) -> Place:
    """The family's tiles in another family's order: the whole picture first instead of last."""

    def place(batch: Batch) -> list[Placement]:
        return [
            replace(p, layout=TokenLayout((p.layout.tiles[-1], *p.layout.tiles[:-1]), p.layout.n_post))
            for p in family.place(batch)
        ]

    return place


@pytest.mark.parametrize(
    ("name", "side", "wrong"),
    [
        ("qwen2_vl", "pre", as_stored),
        ("qwen2_5_vl", "pre", as_stored),
        ("qwen2_5_vl", "post", as_stored),
        ("internvl", "pre", as_stored),
        ("internvl", "post", whole_picture_first),
        ("idefics3", "pre", whole_picture_first),
        ("idefics3", "post", whole_picture_first),
        ("exaone4_5", "post", as_stored),
        ("hyperclovax_vision_v2", "pre", as_stored),
        ("kimi_k25", "pre", as_stored),
        ("minicpmv4_6", "pre", as_stored),
        ("qianfan_ocr", "pre", as_stored),
        ("qwen3_omni_moe", "pre", as_stored),
        ("nemotron_h_omni", "pre", as_stored),
        ("phi4_multimodal", "pre", as_stored),
        ("unlimited_ocr", "post", whole_picture_first),
    ],
)
def test_it_fails_without_the_permutation(
    name: str, side: Side, wrong: Callable[[Family], Place], tiny: Tiny
) -> None:
    right = adapter_for_model(*tiny(name), name)
    assert isinstance(right, TransformersAdapter)
    family = replace(right.family, place=wrong(right.family))
    adapter = TransformersAdapter(right.model, family, right.feed, name)
    assert planted(right, (112, 112), side).share == 1
    assert planted(adapter.claiming, (112, 112), side).share < 0.7
    (pair,) = adapter.capture([coloured_picture(112, 112)])
    assert pair.layout == TokenLayout((), len(pair.post), unplaced=len(pair.pre))


class BehindTheNorm(TransformersAdapter):
    """An adapter whose encoder side is read behind the connector's leading norm."""

    def run(self, prepared: Prepared, *, untrained: bool = True) -> TokenBatch:
        batch = super().run(prepared, untrained=untrained)
        assert batch.pre_normed is not None
        return replace(batch, pre=batch.pre_normed)


@pytest.mark.parametrize(
    "name",
    [
        *("qwen2_5_vl", "qwen3_vl", "mistral3", "internvl", "vipllava", "aya_vision", "lfm2_vl"),
        *("qwen3_omni_moe", "hyperclovax_vision_v2", "kimi_k25", "minicpmv4_6", "paddleocr_vl", "hunyuan_vl"),
        *("lighton_ocr", "qianfan_ocr"),
        *("lfm3_vl", "dots3_note", "cosmos3_edge", "nemotron_h_omni", "granite4_vision"),
    ],
)
def test_both_taps_of_a_leading_norm_lie_in_raster_order(name: str, tiny: Tiny) -> None:
    model, processor = tiny(name)
    adapter = adapter_for_model(model, processor, name)
    assert isinstance(adapter, TransformersAdapter)
    normed = BehindTheNorm(adapter.model, adapter.family, adapter.feed, name)
    assert planted(normed, (112, 80), "pre").share == 1
    (pair,) = adapter.capture([coloured_picture(112, 80)])
    assert pair.pre_normed is not None
    assert pair.pre.shape == pair.pre_normed.shape
    assert not np.array_equal(pair.pre, pair.pre_normed)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("qwen2_vl", "model.visual.merger.ln_q"),
        ("mistral3", "model.multi_modal_projector.norm"),
        ("vipllava", "model.multi_modal_projector.projector_layernorm"),
    ],
)
def test_the_second_tap_is_the_norm_of_the_first(name: str, path: str, tiny: Tiny) -> None:
    model, processor = tiny(name)
    (pair,) = adapter_for_model(model, processor, name).capture([coloured_picture(112, 80)])
    with torch.no_grad():
        np.testing.assert_allclose(model.get_submodule(path)(pair.pre), pair.pre_normed, atol=1e-5)


def test_square_grids_only() -> None:
    with pytest.raises(ValueError, match="15 tokens are no square grid"):
        square(15)
