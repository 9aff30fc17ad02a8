"""Cards beside trained weights, which lie where anybody may write."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from connector_bench.cli import app


@pytest.mark.parametrize("content", ["", "{", "null", "{}", "[" * 200_000 + "]" * 200_000])
def test_a_damaged_card_is_named(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECTOR_BENCH_CACHE", str(tmp_path))
    card = tmp_path / "zoo-weights" / "mine-seed0.json"
    card.parent.mkdir()
    card.write_text(content)
    ended = CliRunner().invoke(app, ["zoo", "list"], env={"COLUMNS": "1000"})
    assert isinstance(ended.exception, SystemExit)
    assert f"{card} is no card of trained weights: " in ended.output
