"""`connectors` and `connectors inspect`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from connector_bench.connectors.cli import app
from connector_bench.connectors.coloured import coloured_picture


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return result.exit_code, result.output

    return invoke


def test_list(run: Callable[..., tuple[int, str]]) -> None:
    code, said = run()
    assert code == 0
    assert "\n  model.visual.deepstack_merger_list.*\n" in said, (
        "a path stands alone on its line, to be copied"
    )
    for name in ("qwen2_5_vl", "q-former", "idefics3, smolvlm"):
        assert name in said


@pytest.mark.parametrize("name", ["internvl", "idefics2", "qwen2_5_vl"])
def test_inspect(
    name: str, run: Callable[..., tuple[int, str]], checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    picture, drawing = tmp_path / "a.png", tmp_path / "tokens.png"
    coloured_picture(112, 80).save(picture)
    code, said = run("inspect", checkpoint(name), "--image", picture, "--output", drawing, "--cells", 8)
    assert code == 0, said
    for part in ("parameters", "encoder grid", "Planted patches", "nothing"):
        assert part in said
    assert Image.open(drawing).width > 300


def refused(run: Callable[..., tuple[int, str]], *arguments: object) -> str:
    code, said = run("inspect", *arguments)
    assert code == 1, said
    message = said[said.index("cannot inspect") :]
    assert len(message) < 1000, message
    return message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such folder"),
        ({}, "config.json"),
        ({"config.json": "{"}, "config.json"),
        ({"config.json": "{}"}, "model_type"),
        ({"config.json": '{"model_type": "llama"}'}, "is none that reads images"),
        ({"config.json": '{"model_type": "clip"}'}, "compares one vector of a picture with one of a text"),
        ({"config.json": '{"model_type": "vit"}'}, "is none that reads images|no file named"),
        ({"config.json": '{"model_type": "mllama"}'}, "cross-attention"),
        (
            {
                "config.json": '{"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}',
                "own.py": "raise SystemExit('it ran')",
            },
            "its code lies in the checkpoint and is not run here",
        ),
    ],
)
def test_a_checkpoint_that_is_none(
    run: Callable[..., tuple[int, str]], tmp_path: Path, content: dict[str, str] | None, message: str
) -> None:
    folder = tmp_path / "checkpoint"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)
    assert re.search(message, refused(run, folder))


def test_devices_pictures_and_overrides_that_do_not_do(
    run: Callable[..., tuple[int, str]],
    checkpoint: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = checkpoint("llava")
    (tmp_path / "no.png").write_text("no picture")
    assert "cannot identify image file" in refused(run, model, "--image", tmp_path / "no.png")
    assert "Is a directory" in refused(run, model, "--image", tmp_path)
    if not torch.cuda.is_available():
        assert "--device cuda cannot be used here" in refused(run, model, "--device", "cuda")
    assert "--device gpu cannot be used here" in refused(run, model, "--device", "gpu")
    for override, message in {
        "{module: ": "which is no YAML",
        "mlp": "a mapping such as",
        "{layout: grid}": "names no module",
        "{module: model.multi_modal_projector, layout: square}": "layout is 'square'; allowed are",
        "{module: model.multi_modal_projector, skip: one}": "one",
        "{module: model.nope, layout: grid}": "model.nope",
        "{modul: model.multi_modal_projector}": "unknown keys modul",
    }.items():
        monkeypatch.setenv("CONNECTOR_BENCH_CONNECTOR", override)
        assert message in refused(run, model), override
    monkeypatch.delenv("CONNECTOR_BENCH_CONNECTOR")
    damaged = shutil.copytree(model, tmp_path / "damaged")
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refused(run, damaged)
    (tmp_path / "in_the_way").write_text("a file")
    picture = tmp_path / "a.png"
    coloured_picture(112, 80).save(picture)
    drawing = tmp_path / "in_the_way" / "tokens.png"
    code, said = run("inspect", model, "--image", picture, "--output", drawing, "--cells", 2)
    assert code == 1
    assert "Not a directory" in said
