"""Weights that the checkpoint lacked stop a measurement, by name; right checkpoints never do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from connector_bench.connectors import UnsupportedModel, adapter_for_model
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.fresh import VARIABLE, observe_loading
from tests.harness import run_here
from tests.tiny_vlms import HARNESS

Checkpoint = Callable[[str], Path]
LACKING = "linear_2"
NAMES = "model.multi_modal_projector.linear_2.bias, model.multi_modal_projector.linear_2.weight"
TASK = "knn_preservation_imagefolder"

observe_loading()


def load(path: Path, **options: Any) -> Any:
    return transformers.AutoModelForImageTextToText.from_pretrained(path, **options).eval()


def load_unseen(path: Path) -> Any:
    """As a program that loads its model before it knows of this package."""
    unseen: Any = transformers.PreTrainedModel.from_pretrained.__func__.__wrapped__  # type: ignore[attr-defined]
    return unseen(transformers.LlavaForConditionalGeneration, path).eval()


def without(part: str, checkpoint: Path, folder: Path) -> Path:
    """The checkpoint less the weights whose names hold `part`."""
    shutil.copytree(checkpoint, folder)
    file = folder / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(file).items() if part not in name}
    save_file(kept, file, metadata={"format": "pt"})
    return folder


@pytest.fixture
def lacking(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    return without(LACKING, checkpoint("llava"), tmp_path / "lacking")


@pytest.fixture(scope="session")
def processor(checkpoint: Checkpoint) -> Any:
    return transformers.AutoProcessor.from_pretrained(checkpoint("llava"))


@pytest.mark.parametrize("name", HARNESS)
def test_no_right_checkpoint_is_refused(name: str, checkpoint: Checkpoint) -> None:
    path = checkpoint(name)
    processor = transformers.AutoProcessor.from_pretrained(path)
    assert adapter_for_model(load(path), processor).info.assumptions == ()


@pytest.mark.parametrize("form", ["sharded", "bin", "another head missing"])
def test_no_right_form_of_a_checkpoint_is_refused(
    form: str, checkpoint: Checkpoint, processor: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    if form == "sharded":
        load(checkpoint("llava")).save_pretrained(folder, max_shard_size="20KB")
        assert (folder / "model.safetensors.index.json").exists()
    elif form == "bin":
        shutil.copytree(checkpoint("llava"), folder)
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    else:
        without("lm_head", checkpoint("llava"), folder)
    assert adapter_for_model(load(folder), processor).info.assumptions == ()


def test_missing_weights_are_named_unless_allowed(
    lacking: Path, processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(lacking).to(torch.bfloat16)
    with pytest.raises(
        UnsupportedModel, match=rf"freshly initialised: {NAMES}\. Load .* or set {VARIABLE}=1"
    ):
        adapter_for_model(model, processor)
    monkeypatch.setenv(VARIABLE, "1")
    adapter = adapter_for_model(model, processor)
    assert adapter.info.assumptions == (f"freshly initialised, since the checkpoint lacked them: {NAMES}",)
    assert len(adapter.capture([coloured_picture(112, 112)])) == 1
    monkeypatch.setenv(VARIABLE, "0")
    with pytest.raises(UnsupportedModel, match="freshly initialised"):
        adapter_for_model(model, processor)


def test_weights_of_another_shape_are_fresh_too(
    checkpoint: Checkpoint, processor: Any, tmp_path: Path
) -> None:
    shutil.copytree(checkpoint("llava"), tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    tensors = load_file(file)
    (name,) = (name for name in tensors if name.endswith("projector.linear_1.weight"))
    save_file(tensors | {name: torch.zeros(3, 3)}, file, metadata={"format": "pt"})
    model = load(tmp_path / "model", ignore_mismatched_sizes=True)
    with pytest.raises(UnsupportedModel, match=r"initialised: model.multi_modal_projector.linear_1.weight\."):
        adapter_for_model(model, processor)


def test_offloaded_missing_weights_are_seen(lacking: Path, processor: Any, tmp_path: Path) -> None:
    parts = ("model.vision_tower", "model.language_model", "lm_head")
    places = dict.fromkeys(parts, "cpu") | {"model.multi_modal_projector": "disk"}
    with pytest.raises(UnsupportedModel, match=NAMES):
        adapter_for_model(load(lacking, device_map=places, offload_folder=str(tmp_path)), processor)


MARKED = pytest.mark.skipif(
    transformers.__version__.startswith("4."),
    reason="transformers 4 marks missing weights as if they were loaded",
)


@pytest.mark.parametrize("read", [load, pytest.param(load_unseen, marks=MARKED)])
def test_weights_loaded_by_hand_or_trained_are_not_fresh(
    read: Callable[[Path], Any], lacking: Path, checkpoint: Checkpoint, processor: Any
) -> None:
    right = load(checkpoint("llava")).model.multi_modal_projector
    model = read(lacking)
    with pytest.raises(UnsupportedModel, match=NAMES.split(",")[1].strip()):
        adapter_for_model(model, processor)
    model.model.multi_modal_projector.load_state_dict(right.state_dict())
    assert adapter_for_model(model, processor).info.assumptions == ()
    model = read(lacking)
    optimizer = torch.optim.AdamW(model.model.multi_modal_projector.parameters(), lr=0.01)
    for _ in range(3):
        model.model.multi_modal_projector(torch.ones(1, 4, 32)).square().mean().backward()
        optimizer.step()
    assert adapter_for_model(model, processor).info.assumptions == ()


def test_adapters_over_a_fresh_connector_do_not_hide_it(lacking: Path, processor: Any) -> None:
    import peft

    lora = peft.LoraConfig(r=4, target_modules=r".*projector\.linear_\d")
    with pytest.raises(UnsupportedModel, match=NAMES):
        adapter_for_model(peft.get_peft_model(load(lacking), lora).eval(), processor)
    saved = peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["multi_modal_projector"])
    model = peft.get_peft_model(load(lacking), saved).eval()
    with pytest.raises(UnsupportedModel, match=NAMES):
        adapter_for_model(model, processor)
    copy = model.get_base_model().model.multi_modal_projector.modules_to_save["default"]
    torch.nn.init.normal_(copy.linear_2.weight)
    assert adapter_for_model(model, processor).info.assumptions == ()


def test_a_folder_that_holds_an_adapter_alone_is_no_false_alarm(
    checkpoint: Checkpoint, processor: Any, tmp_path: Path
) -> None:
    import peft

    lora = peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["multi_modal_projector"])
    model = peft.get_peft_model(load(checkpoint("llava")), lora)
    model.save_pretrained(tmp_path)
    assert adapter_for_model(load(tmp_path), processor).info.assumptions == ()
    again = peft.PeftModel.from_pretrained(load(checkpoint("llava")), tmp_path).eval()
    assert adapter_for_model(again, processor).info.assumptions == ()


def test_the_command_line_names_them_and_keeps_the_other_tasks(
    lacking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(12):
        coloured_picture(56 + number, 70, number).save(pictures / f"{number}.png")
    monkeypatch.setenv("CONNECTOR_BENCH_IMAGE_FOLDER", str(pictures))

    refused = run_here(
        tmp_path / "out",
        *("--model", "llava_hf", "--model_args", f"pretrained={lacking},device=cpu,device_map=cpu"),
        *("--tasks", f"{TASK},scenes_vqa", "--limit", "12", "--gen_kwargs", "max_new_tokens=1"),
    )
    assert NAMES in refused.record(TASK)["error"]
    assert "knor_10" not in refused.figures(TASK)
    assert "accuracy" in refused.figures("scenes_vqa")
