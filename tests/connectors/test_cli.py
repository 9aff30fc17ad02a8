"""`connectors` and `connectors inspect`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
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
    for name in ("qwen2_5_vl", "model.visual.deepstack_merger_list.*", "q-former", "idefics3, smolvlm"):
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


def test_a_checkpoint_that_is_not_there(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, said = run("inspect", tmp_path)
    assert code == 1
    assert "Traceback" not in said
