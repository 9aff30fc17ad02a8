"""Changes made on purpose to models of the real classes: each is named for what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.connectors import adapter_for_model
from connector_bench.fingerprint.drawn_pictures import drawn_pictures
from connector_bench.fingerprint.fingerprint_file import FingerprintFile
from connector_bench.fingerprint.stages import fingerprint_of
from connector_bench.fingerprint.verdict import Verdict, compare
from connector_bench.pictures import images_fingerprint, picture_hash
from tests import tiny_vlms

torch.set_num_threads(1)
Change = Callable[[Any], Any]


def printed(
    name: str, change: Change = lambda model: None, dtype: torch.dtype = torch.float32
) -> FingerprintFile:
    model, processor = tiny_vlms.make(name)
    change(model)
    return fingerprint_of(adapter_for_model(model.to(dtype).eval(), processor, name))  # type: ignore[arg-type]


@cache
def plain(name: str) -> FingerprintFile:
    return printed(name)


def verdict_on(name: str, change: Change, dtype: torch.dtype = torch.float32) -> Verdict:
    return compare(plain(name), printed(name, change, dtype))


def tower_layers(model: Any) -> tuple[Any, str]:
    """The list of the tower's layers, as the module that holds it and its name."""
    for module in model.model.modules():
        for name in ("layers", "layer", "blocks"):
            found = getattr(module, name, None)
            if isinstance(found, nn.ModuleList) and not isinstance(
                getattr(module, "embed_tokens", None), nn.Module
            ):
                return module, name
    raise AssertionError("no layers")


def without_layer(number: int) -> Change:
    def change(model: Any) -> None:
        holder, name = tower_layers(model)
        kept = [layer for place, layer in enumerate(getattr(holder, name)) if place != number]
        setattr(holder, name, nn.ModuleList(kept))

    return change


def reordered(path: str, order: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    """The connector is given its tokens in another order."""

    def change(model: Any) -> None:
        def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (order(args[0]), *args[1:])

        model.get_submodule(path).register_forward_pre_hook(before)

    return change


def test_the_pictures_are_the_same_everywhere() -> None:
    names = [picture_hash(picture) for picture in drawn_pictures()]
    assert len(set(names)) == 12
    assert images_fingerprint(names) == PICTURES


PICTURES = "bde7f507143791919f6d42ba1e738449063d6c02b039076be0729cb45919f29b"


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "qwen3_vl", "gemma3", "internvl", "idefics2"])
def test_the_same_model_and_rounding(name: str) -> None:
    same = compare(plain(name), printed(name))
    assert same.kind == "same", same
    stages = [stage.name for stage in plain(name).stages]
    assert stages[:3] == ["inputs", "embeddings", "layer 1"]
    assert {"layer 2", "pre", "post"} <= set(stages)
    rounded = verdict_on(name, lambda model: None, torch.bfloat16)
    assert rounded.kind == "rounding", rounded
    assert "bfloat16" in rounded.words[0]
    assert max(stage.difference for stage in rounded.stages) > 1e-4


def idle_layer(number: int) -> Change:
    """The layer gives what it is given."""

    def change(model: Any) -> None:
        holder, name = tower_layers(model)
        layer = getattr(holder, name)[number]
        original = layer.forward

        def forward(hidden_states: torch.Tensor, *args: Any, **options: Any) -> Any:
            found = original(hidden_states, *args, **options)
            return (hidden_states, *found[1:]) if isinstance(found, tuple) else hidden_states

        layer.forward = forward

    return change


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl", "gemma3", "idefics2"])
def test_a_layer_that_is_left_out(name: str, dtype: torch.dtype) -> None:
    layers = sum(stage.name.startswith("layer ") for stage in plain(name).stages)
    for number in range(layers):
        found = verdict_on(name, without_layer(number), dtype)
        assert (found.kind, found.first) == ("layer", f"layer {number + 1}"), (number, found)
        assert (
            f"B has {layers - 1} layers and A {layers}: layer {number + 1} of A is left out" in found.words[0]
        )


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", ["llava", "internvl"])
def test_a_layer_that_does_nothing(name: str, number: int) -> None:
    found = verdict_on(name, idle_layer(number))
    assert (found.kind, found.first) == ("layer", f"layer {number + 1}"), found
    assert f"layer {number + 1} does nothing in B: it is left out" in found.words[0]


def test_a_last_layer_whose_output_nobody_reads() -> None:
    """LLaVA takes the last layer but one; a runtime that never runs the last gives the same tokens."""
    short = plain("llava")
    short = short.model_copy(update={"stages": [stage for stage in short.stages if stage.name != "layer 3"]})
    assert compare(plain("llava"), short).kind == "same"


def test_the_last_layer_from_both_sides_of_the_connector_alone() -> None:
    """Another runtime may know the connector's input and output and nothing before."""
    short = printed("qwen2_5_vl", without_layer(1))
    bare = short.model_copy(
        update={"stages": [stage for stage in short.stages if stage.name in ("pre", "post")], "dtype": None}
    )
    found = compare(plain("qwen2_5_vl"), bare)
    assert found.kind == "layer"
    assert "connector of B receives what A has behind layer 1 of 2" in found.words[0]


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (lambda x: x.flip(1), "reverse order"),
        (lambda x: x.unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2), "columns before rows"),
        (lambda x: x.unflatten(1, (4, 4)).flip(1).flatten(1, 2), "rows from the bottom"),
        (lambda x: torch.cat([x[:, :5], x[:, [6, 5]], x[:, 7:]], dim=1), "another order: 2"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_order_that_was_swapped(order: Any, said: str, dtype: torch.dtype) -> None:
    found = verdict_on("llava", reordered("model.multi_modal_projector", order), dtype)
    assert found.kind == "order", found
    assert found.first == "pre"
    assert said.split(":")[0] in found.words[0]


def without_deepstack(model: Any) -> None:
    model.model.visual.deepstack_visual_indexes = []
    model.model.visual.deepstack_merger_list = nn.ModuleList()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_deepstack_that_is_left_out(dtype: torch.dtype) -> None:
    found = verdict_on("qwen3_vl", without_deepstack, dtype)
    assert found.kind == "branch", found
    assert "B leaves out deepstack: 2 of 2 branches" in found.words[0]
    back = compare(printed("qwen3_vl", without_deepstack), plain("qwen3_vl"))
    assert "A leaves out deepstack" in back.words[0]


def test_deepstack_and_a_layer_together() -> None:
    def both(model: Any) -> None:
        without_deepstack(model)
        without_layer(2)(model)

    found = verdict_on("qwen3_vl", both)
    assert found.kind == "layer"
    assert "deepstack" in found.words[-1]


def test_other_values() -> None:
    def weights(path: str) -> Change:
        def change(model: Any) -> None:
            with torch.no_grad():
                next(model.get_submodule(path).parameters()).neg_()

        return change

    found = verdict_on("llava", weights("model.multi_modal_projector.linear_2"))
    assert (found.kind, found.first) == ("values", "post")
    holder = verdict_on("qwen2_5_vl", weights("model.visual.blocks.1.mlp.gate_proj"))
    assert (holder.kind, holder.first) == ("layer", "layer 2")
    assert "computes something else" in holder.words[0]


def test_the_command_line(tmp_path: Path) -> None:
    runner = CliRunner()

    def say(*words: object) -> tuple[int, str]:
        ended = runner.invoke(app, ["fingerprint", *map(str, words)])
        return ended.exit_code, ended.output

    checkpoint = tiny_vlms.save("llava", tmp_path)
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    assert say("make", checkpoint, "--out", one)[0] == 0
    assert say("make", checkpoint, "--out", other, "--dtype", "bfloat16")[0] == 0
    code, said = say("compare", one, other)
    assert code == 0, said
    assert "rounding: no stage differs by more than bfloat16 rounds" in said
    (tmp_path / "swapped.json").write_text(
        printed("llava", reordered("model.multi_modal_projector", lambda x: x.flip(1))).model_dump_json()
    )
    code, said = say("compare", one, tmp_path / "swapped.json")
    assert code == 3, said
    assert "reverse order" in said
    assert say("pictures", tmp_path / "pictures")[0] == 0
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 12
    content = json.loads(one.read_text())
    for broken, message in {
        "{": "",
        json.dumps(content | {"pictures": ["0" * 64] * 12}): "other pictures",
        json.dumps(content | {"stages": content["stages"][:1] * 2}): "two stages",
        json.dumps(content | {"schema_version": 9}): "schema 9",
        json.dumps(
            content | {"stages": [content["stages"][0] | {"pictures": content["stages"][0]["pictures"][:3]}]}
        ): "3 pictures of 12",
    }.items():
        other.write_text(broken)
        code, said = say("compare", one, other)
        assert code == 1, said
        assert message in said
        assert len(said) < 1500
