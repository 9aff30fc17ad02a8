"""Which adapter a model gets: declared families, the structure, overrides, entry points, special adapters."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from connector_bench.connectors import (
    UnsupportedModel,
    adapter_for,
    adapter_for_model,
    declared_families,
    register,
)
from connector_bench.connectors import registry as registry_module
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.family import Family, single
from connector_bench.connectors.generic import candidates, family_by_structure
from connector_bench.connectors.override import VARIABLE, parse
from connector_bench.connectors.places import grid
from connector_bench.connectors.planted import planted_patches
from connector_bench.connectors.registry import installed_families

Tiny = Callable[[str], tuple[Any, Any]]
PICTURES = [coloured_picture(112, 112), coloured_picture(112, 80, 1)]


def test_importing_the_package_loads_no_models() -> None:
    code = (
        "import sys, connector_bench.connectors as c, connector_bench.connectors.cli; c.declared_families()\n"
        "assert not {'transformers', 'lmms_eval', 'torch', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_two_families_claim_one_model() -> None:
    conditions = [(kind, family.when) for family in declared_families() for kind in family.model_types]
    for tower, norm in (("pixtral", False), ("clip_vision_model", True)):
        vision = SimpleNamespace(model_type=tower)
        config = SimpleNamespace(vision_config=vision, projector_use_layernorm=norm)
        claimed = [kind for kind, when in conditions if when(config)]
        assert len(claimed) == len(set(claimed))


@pytest.mark.parametrize("name", ["llava", "paligemma", "gemma3", "qwen2_vl", "idefics3", "got_ocr2"])
def test_the_structure_finds_what_is_declared(name: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = tiny(name)
    declared = adapter_for_model(model, processor, name).capture(PICTURES[:1])
    monkeypatch.setattr(registry_module, "declared_families", lambda: ())
    adapter = adapter_for_model(model, processor, name)
    assert len(adapter.info.assumptions) == 3
    assert adapter.info.modules[0] in adapter.info.assumptions[0]
    if name in ("idefics3", "got_ocr2"):
        assert adapter.capture(PICTURES)[0].post.shape == declared[0].post.shape
        return
    for ours, theirs in zip(adapter.capture(PICTURES[:1]), declared, strict=True):
        assert ours.layout == theirs.layout
        torch.testing.assert_close(ours.pre, theirs.pre)
        torch.testing.assert_close(ours.post, theirs.post)
    assert planted_patches(adapter, PICTURES[0], "post").share == 1


def test_the_structure_refuses_to_guess(tiny: Tiny) -> None:
    model, _ = tiny("qwen3_vl")
    assert candidates(model) == ["model.visual.merger"]
    model.other = torch.nn.ModuleDict({"aligner": torch.nn.Linear(2, 2)})
    with pytest.raises(
        UnsupportedModel, match=r"several .*: model.visual.merger, other.aligner; set CONNECTOR_BENCH"
    ):
        family_by_structure(model)
    del model.other
    plain = torch.nn.Sequential(torch.nn.Linear(2, 2))
    plain.config = SimpleNamespace(model_type="plain")  # type: ignore[assignment]
    with pytest.raises(UnsupportedModel, match=r"no module that is named like a connector \(children: 0\)"):
        family_by_structure(plain)


def test_one_line_of_yaml_declares_a_connector(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = tiny("qwen2_vl")
    expected = adapter_for_model(model, processor).capture(PICTURES)
    monkeypatch.setenv(VARIABLE, "{module: model.visual.merger, layout: grid_thw, leading_norm: ln_q}")
    adapter = adapter_for_model(model, processor)
    for ours, theirs in zip(adapter.capture(PICTURES), expected, strict=True):
        assert ours.layout == theirs.layout
        torch.testing.assert_close(ours.pre_normed, theirs.pre_normed)
        torch.testing.assert_close(ours.post, theirs.post)
    monkeypatch.setenv(VARIABLE, "{module: model.visual.merger, model_type: another}")
    assert not adapter_for_model(model, processor).info.assumptions
    monkeypatch.setenv(VARIABLE, "{module: model.nowhere}")
    with pytest.raises(UnsupportedModel, match=r"no module 'model.nowhere'; its children are model, lm_head"):
        adapter_for_model(model, processor)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model.merger", "a mapping such as"),
        ("{layout: grid}", "names no module"),
        ("{module: a, where: b}", "unknown keys where; allowed are module"),
    ],
)
def test_a_bad_override_says_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text)


def test_entry_points_declare_families(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mine", f"{__name__}:MINE", registry_module.ENTRY_POINTS)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point])
    installed_families.cache_clear()
    try:
        adapter = adapter_for_model(*tiny("llava"), "llava")
    finally:
        installed_families.cache_clear()
    assert adapter.info.connector == "my own"


MINE = Family(("llava",), "my own", ("model.multi_modal_projector",), grid())


@pytest.mark.parametrize(
    ("model_type", "said"),
    [("mllama", "cross-attention"), ("chameleon", "discrete codes"), ("fuyu", "no vision tower")],
)
def test_models_without_a_connector_get_a_sentence(model_type: str, said: str) -> None:
    model = SimpleNamespace(config=SimpleNamespace(model_type=model_type))
    with pytest.raises(UnsupportedModel, match=f"A {model_type} model .*{said}"):
        adapter_for_model(model)


def test_models_need_a_config_and_a_processor(tiny: Tiny) -> None:
    with pytest.raises(UnsupportedModel, match="has no config"):
        adapter_for_model(object())
    model, processor = tiny("llava")
    with pytest.raises(UnsupportedModel, match="llava model needs its processor"):
        adapter_for_model(model)
    with pytest.raises(UnsupportedModel, match="has no image processor"):
        adapter_for_model(model, processor.tokenizer).capture(PICTURES)


def test_special_adapters_are_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_SPECIAL", {})
    register("mine", lambda model: model == "zoo", lambda model, name: (model, name))  # type: ignore
    assert adapter_for_model("zoo", name="a") == ("zoo", "a")
    assert adapter_for(SimpleNamespace(_model="zoo", pretrained="b")) == ("zoo", "b")
    with pytest.raises(ValueError, match="'mine' is registered already"):
        register("mine", lambda model: True, lambda model, name: None)  # type: ignore


def test_a_family_may_depend_on_the_tower(tiny: Tiny) -> None:
    for name, note in (("llava", ""), ("llava_pixtral", "packed")):
        family = single(declared_families(), tiny(name)[0].config)
        assert family is not None
        assert note in family.note


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "internvl", "idefics3"])
def test_base_classes_without_a_head(name: str, tiny: Tiny) -> None:
    model, processor = tiny(name)
    whole = adapter_for_model(model, processor).capture(PICTURES)
    for ours, theirs in zip(adapter_for_model(model.model, processor).capture(PICTURES), whole, strict=True):
        assert ours.layout == theirs.layout
        torch.testing.assert_close(ours.post, theirs.post)


def test_the_model_of_an_asynchronous_wrapper_is_its_first_worker_s(tiny: Tiny) -> None:
    model, processor = tiny("llava")
    worker = SimpleNamespace(model=model, processor=processor)
    kind = type("AsyncHFModel", (), {"__module__": "lmms_eval.models.chat.async_hf_model"})
    lm = kind()
    lm._workers, lm.pretrained = [worker, worker], "my/model"
    adapter = adapter_for(lm)
    assert adapter.info.model == "my/model"
    assert len(adapter.capture(PICTURES)) == 2
