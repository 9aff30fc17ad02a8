"""Models with code of their own, through it: planted patches, and the order in which the language model gets tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
import torch

from connector_bench.connectors import UnsupportedModel, adapter_for, adapter_for_model
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.planted import planted_patches, sides_of
from connector_bench.connectors.through_wrapper import WrapperFeed
from connector_bench.connectors.transformers_adapter import TransformersAdapter
from tests.remote_code import molmo, ovis, phi3_v, vila
from tests.remote_code.answering import Wrapper, drawn, embeddings_of

Stood = tuple[Callable[[], Any], Callable[[Any, Any], None], str]
MODELS: dict[str, Stood] = {
    "phi3_v": (phi3_v.Phi3VForCausalLM, phi3_v.answer, "model.decoder"),
    "molmo": (molmo.MolmoForCausalLM, molmo.answer, "model.decoder"),
    "molmo, numbered inversely": (
        molmo.MolmoForCausalLM,
        partial(molmo.answer, inverse=True),
        "model.decoder",
    ),
    "ovis": (ovis.Ovis, ovis.answer, "llm"),
    "ovis whole blocks": (partial(ovis.Ovis, pixels=56), ovis.answer, "llm"),
    "nvila tiles": (partial(vila.LlavaLlamaModel, aspect="dynamic"), vila.answer, "llm"),
    "nvila s2": (
        partial(vila.LlavaLlamaModel, aspect="dynamic_s2", scales=(56, 112), block=2),
        vila.answer,
        "llm",
    ),
    "nvila s2, blocks of three": (
        partial(
            vila.LlavaLlamaModel,
            aspect="dynamic_s2",
            scales=(56, 112),
            block=3,
            kind="mlp_downsample_3x3_fix",
            resize_to=0,
        ),
        vila.answer,
        "llm",
    ),
    "vila 1.5": (
        partial(vila.LlavaLlamaModel, side=70, kind="mlp_downsample", columns_first=True),
        vila.answer,
        "llm",
    ),
    "nvila, by the name of vila 1.5": (
        partial(vila.LlavaLlamaModel, side=70, kind="mlp_downsample"),
        vila.answer,
        "llm",
    ),
    "vila, padded": (
        partial(vila.LlavaLlamaModel, kind="mlp2x_gelu", block=1, aspect="pad"),
        vila.answer,
        "llm",
    ),
}
SHAPES = ((140, 140), (168, 84), (84, 168))
ALIGNED = {"molmo": ((168, 168), (168, 112), (112, 168))}
"""Canvases of whole patches: its pooling attends without a norm, and a few pixels of a neighbour move it far."""
SEVERAL = ("phi3_v", "molmo", "ovis", "ovis whole blocks", "nvila tiles")
"""Those that show a picture more than once."""


@cache
def held(name: str) -> tuple[TransformersAdapter, Wrapper]:
    build, answer, _ = MODELS[name]
    wrapper = Wrapper(drawn(build), answer)
    adapter = adapter_for(wrapper)
    assert isinstance(adapter, TransformersAdapter)
    return adapter, wrapper


@pytest.mark.parametrize("name", MODELS)
def test_a_planted_patch_changes_its_own_token_most(name: str) -> None:
    adapter, _ = held(name)
    assert isinstance(adapter.feed, WrapperFeed)
    assert adapter.place_check.known
    assert adapter.place_check.found == 1
    for shape in ALIGNED.get(name, SHAPES):
        picture = coloured_picture(*shape, seed=5)
        (pair,) = adapter.capture([picture])
        assert sides_of(pair.layout) == ("pre", "post")
        assert (len(pair.pre), len(pair.post)) == (pair.layout.n_pre, pair.layout.n_post)
        for side in sides_of(pair.layout):
            result = planted_patches(adapter, picture, side, batch_size=16, limit=24)
            assert result.cells >= 4
            assert result.share == 1, (shape, side, result)
    if name in SEVERAL:
        assert len(pair.layout.tiles) > 1


@pytest.mark.parametrize("name", MODELS)
def test_tokens_are_those_that_the_language_model_gets(name: str) -> None:
    adapter, wrapper = held(name)
    decoder = adapter.model.get_submodule(MODELS[name][2])
    for shape in SHAPES:
        picture = coloured_picture(*shape, seed=6)
        (pair,) = adapter.capture([picture])
        received = embeddings_of(adapter.model, decoder, wrapper, picture)
        if name.startswith("molmo"):  # which adds them to the embedding of their placeholders
            received = received - decoder.embed_tokens(torch.tensor(molmo.PLACEHOLDER)).detach()
        nearest, which = torch.cdist(pair.post.double(), received.double()).min(dim=1)
        assert float(nearest.max()) < 1e-5 * float(received.norm(dim=1).max())
        assert len(set(which.tolist())) == len(pair.post)
        if name in (
            "ovis",
            "vila 1.5",
            "nvila, by the name of vila 1.5",
        ):  # edges are tiles of their own, columns run down
            which = which.sort().values
        if name == "molmo, numbered inversely":
            one_column = shape[1] > shape[0]
            assert bool((which.diff() > 0).all()) == one_column
            which = which.sort().values
        assert torch.equal(which, which.sort().values)


@pytest.mark.parametrize("name", MODELS)
def test_untrained_copies_run_beside_the_connector(name: str) -> None:
    build, answer, _ = MODELS[name]
    adapter = adapter_for(Wrapper(drawn(build), answer))
    assert adapter.add_untrained((0,)) is None
    (pair,) = adapter.capture([coloured_picture(168, 84)])
    assert pair.untrained[0].shape == pair.post.shape
    assert not torch.equal(pair.untrained[0], pair.post)


@pytest.mark.parametrize("name", ["nvila tiles", "nvila s2", "vila 1.5"])
def test_behind_the_leading_norm_patches_have_the_same_places(name: str) -> None:
    adapter, _ = held(name)
    (pair,) = adapter.capture([coloured_picture(168, 84)])
    assert pair.pre_normed is not None
    assert pair.pre_normed.shape == pair.pre.shape
    alike = torch.nn.functional.cosine_similarity(
        pair.pre - pair.pre.mean(-1, keepdim=True), pair.pre_normed - pair.pre_normed.mean(-1, keepdim=True)
    )
    assert float(alike.min()) > 0.9


def test_phi3_v_by_its_image_processor_alone() -> None:
    adapter, _ = held("phi3_v")
    alone = adapter_for_model(adapter.model, phi3_v.Phi3VProcessor(), "phi3_v")
    pictures = [coloured_picture(*shape) for shape in SHAPES]
    for ours, theirs in zip(alone.capture(pictures), adapter.capture(pictures), strict=True):
        assert ours.layout == theirs.layout
        assert torch.equal(ours.post, theirs.post)


def test_phi3_v_in_the_wrapper_of_lmms_eval() -> None:
    """Whose `generate_until` is its own; its constructor would load the checkpoint's remote code."""
    phi3v = pytest.importorskip("lmms_eval.models.simple.phi3v")
    adapter, _ = held("phi3_v")
    lm, processor = phi3v.Phi3v.__new__(phi3v.Phi3v), phi3_v.Phi3VProcessor()
    lm._model, lm._processor, lm._tokenizer = adapter.model, processor, processor.tokenizer
    lm._device, lm._rank, lm.batch_size_per_gpu, lm.use_cache = "cpu", 0, 1, True
    lm.task_dict, lm.cache_hook = {}, None
    through_it = adapter_for(lm)
    assert isinstance(through_it, TransformersAdapter)
    assert isinstance(through_it.feed, WrapperFeed)
    pictures = [coloured_picture(*shape) for shape in SHAPES]
    for ours, theirs in zip(through_it.capture(pictures), adapter.capture(pictures), strict=True):
        assert ours.layout == theirs.layout
        assert torch.equal(ours.pre, theirs.pre)
        assert torch.equal(ours.post, theirs.post)


def test_the_wrapper_that_shows_black_frames_is_refused() -> None:
    adapter, wrapper = held("nvila tiles")

    class VILA(Wrapper):
        pass

    VILA.__module__ = "lmms_eval.models.simple.vila"
    with pytest.raises(UnsupportedModel, match="black frames"):
        adapter_for(VILA(adapter.model, wrapper._answer))
