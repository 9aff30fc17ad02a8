"""Other weights in a known model: files as trainings leave them, for all tasks of a run of the real command line."""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file

from connector_bench.connectors.alone import load_alone
from connector_bench.connectors.base import UnsupportedModel
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.given import MODULE, WEIGHTS, give_connector, given_to, require_named
from connector_bench.results.harness_files import read_result, result_files
from connector_bench.results.recorded_command import command_line
from tests import tiny_vlms
from tests.harness import Outcome, run_here

TASKS = ("--tasks", "knn_preservation,scenes_vqa", "--limit", "6", "--batch_size", "1")
TO_LLAVA = {"linear_1": "0", "linear_2": "2"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A checkpoint, another whose connector alone differs, and that connector in every form of file."""
    root = tmp_path_factory.mktemp("trained")
    base = tiny_vlms.save("llava", root / "base")
    model, processor = tiny_vlms.make("llava")
    projector = model.model.multi_modal_projector
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in projector.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.3)
    model.save_pretrained(root / "whole")
    processor.save_pretrained(root / "whole")
    state = {name: tensor.clone() for name, tensor in projector.state_dict().items()}
    save_file(
        {f"model.multi_modal_projector.{k}": v for k, v in state.items()}, root / "projector.safetensors"
    )
    save_file(state, root / "bare.safetensors")
    save_file({f"my.own.{k}": v for k, v in state.items()}, root / "own.safetensors")
    llava = {
        f"model.mm_projector.{TO_LLAVA[a]}.{b}": state[f"{a}.{b}"] for a, b in (k.split(".") for k in state)
    }
    (root / "checkpoint-500").mkdir()
    torch.save(llava | {"model.image_newline": torch.ones(3)}, root / "checkpoint-500" / "mm_projector.bin")
    torch.save(llava, root / "old.bin", _use_new_zipfile_serialization=False)
    prefixed = {f"module.model.multi_modal_projector.{name}": tensor for name, tensor in state.items()}
    torch.save({"state_dict": prefixed, "epoch": 3}, root / "trainer.ckpt")
    model.save_pretrained(root / "checkpoint-1000", max_shard_size="40KB")
    assert (root / "checkpoint-1000" / "model.safetensors.index.json").is_file(), "in shards"
    return {"root": root, "base": base, "state": state}


def model_of_base(trained: dict[str, Any]) -> Any:
    return transformers.LlavaForConditionalGeneration.from_pretrained(trained["base"]).eval()


def test_answers_and_figures_are_those_of_a_checkpoint_with_these_weights(
    trained: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our task and the VQA task of one run, then VQA alone, beside the checkpoint that was saved with these weights."""

    def run(name: str, checkpoint: Path, *tasks: str) -> Outcome:
        arguments = ("--model", "llava_hf", "--model_args", f"pretrained={checkpoint}", *tasks)
        return run_here(tmp_path / name, *arguments)

    def answers(outcome: Outcome) -> list[Any]:
        return [row["filtered_resps"] for row in outcome.samples("scenes_vqa")]

    root = trained["root"]
    base = run("base", trained["base"], "--tasks", "knn_preservation", *TASKS[2:])
    saved = run("saved", root / "whole", *TASKS)
    file = root / "projector.safetensors"
    monkeypatch.setenv(WEIGHTS, str(file))
    given = run("given", trained["base"], *TASKS)
    alone = run("alone", trained["base"], "--tasks", "scenes_vqa", *TASKS[2:])
    knn = [outcome.figures("knn_preservation") for outcome in (given, saved, base)]
    assert knn[0] == knn[1] != knn[2]
    assert answers(given) == answers(saved) == answers(alone)
    assert (
        given.record("knn_preservation")["connector"]["weights_sha256"]
        == (saved.record("knn_preservation")["connector"]["weights_sha256"])
    )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    for task in ("knn_preservation", "scenes_vqa"):
        assert given.content["configs"][task]["given_connector"]["sha256"] == digest
    (result,) = map(read_result, result_files([tmp_path / "given"]))
    (vqa,) = map(read_result, result_files([tmp_path / "alone"]))
    assert result.model == vqa.model == f"llava + projector.safetensors ({digest[:8]})"
    said = command_line(result.content["config"], ["scenes_vqa"], result.given_connector)
    assert said.startswith("CONNECTOR_BENCH_CONNECTOR_WEIGHTS=projector.safetensors lmms-eval ")
    assert any(digest in text for text in given.record("knn_preservation")["connector"]["assumptions"])
    monkeypatch.setenv(WEIGHTS, str(root / "checkpoint-500" / "mm_projector.bin"))
    run("given", trained["base"], "--tasks", "knn_preservation", *TASKS[2:])
    assert len(list((tmp_path / "given" / "connector_bench").iterdir())) == 2, (
        "state of other weights is apart"
    )
    monkeypatch.setenv(WEIGHTS, str(root / "nowhere.safetensors"))
    with pytest.raises(SystemExit) as ended:
        run("refused", trained["base"], *TASKS)
    assert ended.value.code == 1
    assert not list((tmp_path / "refused").rglob("*_results.json"))


FORMS = (
    *("projector.safetensors", "bare.safetensors", "own.safetensors"),
    *("checkpoint-500", "checkpoint-500/mm_projector.bin", "old.bin", "trainer.ckpt"),
    *("checkpoint-1000", "checkpoint-1000/model.safetensors.index.json", "whole/model.safetensors", "whole"),
)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_file(form: str, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEIGHTS, str(trained["root"] / form))
    model = model_of_base(trained)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    given = give_connector(model)
    for name, tensor in model.state_dict().items():
        inner = name.removeprefix("model.multi_modal_projector.")
        wanted = trained["state"][inner] if inner != name else before[name]
        assert torch.equal(tensor, wanted), f"{name}: the connector alone"
    assert given is not None
    folder = trained["root"] / form.removesuffix("/model.safetensors.index.json")
    files = [folder] if folder.is_file() else [file for file in folder.iterdir() if file.suffix != ".json"]
    hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert given.files.items() <= hashes.items()
    assert given.files
    if form == "checkpoint-500":
        assert given.not_read == ("model.image_newline",)


def wrong(trained: dict[str, Any]) -> dict[str, tuple[dict[str, torch.Tensor], str]]:
    state = trained["state"]
    prefixed = {f"multi_modal_projector.{name}": tensor for name, tensor in state.items()}
    short = {name: tensor for name, tensor in prefixed.items() if not name.endswith("linear_2.bias")}
    return {
        "missing": (short, "missing are model.multi_modal_projector.linear_2.bias"),
        "left over": (
            prefixed | {"multi_modal_projector.norm.weight": torch.ones(3)},
            "left over are multi_modal_projector.norm.weight",
        ),
        "shape": (
            prefixed | {"multi_modal_projector.linear_1.weight": torch.ones(48, 31)},
            r"multi_modal_projector.linear_1.weight \(48 x 31 in the file, 48 x 32 in the model\)",
        ),
        "nothing": (
            {"lm_head.weight": torch.ones(2)},
            "holds no weights of the connector .* it has lm_head.weight",
        ),
    }


@pytest.mark.parametrize("kind", ["missing", "left over", "shape", "nothing"])
def test_what_does_not_fit_is_named(
    kind: str, trained: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors, said = wrong(trained)[kind]
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, tmp_path / "wrong.safetensors")
    monkeypatch.setenv(WEIGHTS, str(tmp_path / "wrong.safetensors"))
    model = model_of_base(trained)
    before = model.model.multi_modal_projector.linear_1.weight.clone()
    with pytest.raises(UnsupportedModel, match=said):
        give_connector(model)
    assert torch.equal(before, model.model.multi_modal_projector.linear_1.weight), "nothing was written"
    assert given_to(model) is None


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("mm_projector.bin", b"", r"mm_projector\.bin cannot be read"),
        (
            "mm_projector.bin",
            b"version https://git-lfs.github.com/spec/v1\n",
            r"mm_projector\.bin cannot be read",
        ),
        ("mine.pth", bytes(range(256)), r"mine\.pth cannot be read"),
        ("mine.safetensors", b"", r"mine\.safetensors cannot be read"),
        ("mine.ckpt", pickle.dumps([1, 2]), r"mine\.ckpt"),
        ("notes.txt", b"weights", r"notes\.txt is no file of weights; allowed are \.safetensors"),
        ("folder/notes.txt", b"weights", "folder holds no file of weights"),
    ],
)
def test_what_is_no_file_of_weights_is_named(
    name: str, content: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_bytes(content)
    monkeypatch.setenv(WEIGHTS, "folder" if "/" in name else name)
    with pytest.raises(UnsupportedModel, match=said) as refused:
        require_named()
    assert "\n" not in str(refused.value)
    assert "\x1b" not in str(refused.value)
    monkeypatch.setenv(WEIGHTS, "elsewhere.bin")
    with pytest.raises(FileNotFoundError, match=f"there is no {tmp_path / 'elsewhere.bin'}"):
        require_named()


def test_packed_numbers_are_no_weights(
    trained: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the right names and shapes, but without the scales that make weights of them."""
    packed = {"linear_1.weight": (trained["state"]["linear_1.weight"] * 100).to(torch.int8)}
    save_file(trained["state"] | packed, tmp_path / "packed.safetensors")
    monkeypatch.setenv(WEIGHTS, str(tmp_path / "packed.safetensors"))
    with pytest.raises(
        UnsupportedModel, match=r"holds whole or packed numbers for .*: linear_1\.weight; floating"
    ):
        give_connector(model_of_base(trained))


class Harmful:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("harm"),))


def test_a_pickle_runs_nothing(
    trained: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model.mm_projector.0.weight": Harmful()}, tmp_path / "mm_projector.bin")
    monkeypatch.setenv(WEIGHTS, "mm_projector.bin")
    with pytest.raises(UnsupportedModel, match=r"mm_projector\.bin cannot be read"):
        give_connector(model_of_base(trained))
    assert not (tmp_path / "harm").exists()
    (tmp_path / "steps" / "checkpoint-500").mkdir(parents=True)
    (tmp_path / "mm_projector.bin").rename(tmp_path / "steps" / "checkpoint-500" / "mm_projector.bin")
    monkeypatch.setenv(WEIGHTS, "steps")
    with pytest.raises(UnsupportedModel, match="name one of its folders: checkpoint-500"):
        give_connector(model_of_base(trained))


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen3_vl", "blip_2", "idefics2", "gemma3"])
def test_connectors_of_other_families(
    name: str, tiny: Callable[[str], tuple[Any, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the whole model's own file, whose names transformers has changed, also where there are several modules."""
    model, _ = tiny_vlms.make(name)
    model.save_pretrained(tmp_path / "whole")
    trained = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    monkeypatch.setenv(WEIGHTS, str(tmp_path / "whole"))
    give_connector(model)
    changed = {key for key, tensor in model.state_dict().items() if torch.equal(tensor, trained[key])}
    expected = {"qwen2_vl": "merger", "qwen3_vl": "deepstack_merger", "blip_2": "query_tokens"}
    assert any(expected.get(name, "") in key for key in changed)
    assert not any("language_model" in key or "text_model" in key or "lm_head" in key for key in changed)


MINE = """
from torch import nn


class MyProjector(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.down = nn.Linear(config.vision_config.hidden_size, 5)
        self.up = nn.Linear(5, config.text_config.hidden_size)

    def forward(self, features):
        return self.up(self.down(features))
"""


def test_another_architecture(
    trained: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed in the folder that holds the package; its figures are those of its own map on the tower's tokens."""
    for name in ("my_package", "my_package.mine"):  # of another test's folder
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(MODULE, "my_package.mine:MyProjector")
    with pytest.raises(UnsupportedModel, match=r"lacks weights of the connector, .*down\.weight"):
        load_alone(str(trained["base"]))
    random = torch.Generator().manual_seed(1)
    shapes = {"down.weight": (5, 32), "down.bias": (5,), "up.weight": (48, 5), "up.bias": (48,)}
    state = {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}
    save_file(state, tmp_path / "mine.safetensors")
    monkeypatch.setenv(WEIGHTS, "mine.safetensors")
    adapter = load_alone(str(trained["base"]))
    (pair,) = adapter.capture([coloured_picture(56, 56)])
    mapped = (pair.pre @ state["down.weight"].T + state["down.bias"]) @ state["up.weight"].T + state[
        "up.bias"
    ]
    assert torch.allclose(pair.post, mapped, atol=1e-4)
    assert adapter.info.connector == "my_package.mine:MyProjector"
    assert adapter.info.parameters == sum(tensor.numel() for tensor in state.values())
    assert "my_package.mine:MyProjector mine.safetensors" in adapter.info.model
    assert adapter.info.knows_places
    assert json.dumps(given_to(adapter.model).as_record())  # type: ignore[attr-defined]


def test_the_zoo_takes_weights_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from connector_bench import zoo
    from connector_bench.connectors import adapter_for_model
    from connector_bench.zoo.shipped import SHIPPED

    model, other = zoo.load("rank8", 0), zoo.load("rank8", 1)
    monkeypatch.setenv(WEIGHTS, str(SHIPPED / "rank8-seed1.safetensors"))
    give_connector(model)
    info = adapter_for_model(model).info
    assert info.weights_sha256 == adapter_for_model(other).info.weights_sha256
    assert info.model.startswith("connector_zoo/rank8-seed0 + rank8-seed1.safetensors (")
