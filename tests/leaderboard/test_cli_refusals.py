"""`connector-bench leaderboard` in folders that are no board."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from connector_bench.cli import app


@pytest.mark.parametrize(
    "command", [["build"], ["check"], ["diff", "--before", "."], ["verify", "results"]], ids=lambda c: c[0]
)
@pytest.mark.parametrize("board", ["nowhere", "empty", "file"])
def test_what_is_no_board_is_left_alone(tmp_path: Path, command: list[str], board: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("a file")
    before = sorted(tmp_path.rglob("*"))
    found = CliRunner().invoke(app, ["leaderboard", *command, "--board", str(tmp_path / board)])
    assert found.exit_code == 1
    assert f"refused: {tmp_path / board}: is no leaderboard" in found.output
    assert sorted(tmp_path.rglob("*")) == before
