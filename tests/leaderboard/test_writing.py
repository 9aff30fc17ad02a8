"""A crash at any step of `add` leaves all files old or all files new."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from connector_bench.leaderboard import writing
from connector_bench.leaderboard.writing import replace_together
from tests.leaderboard.killed_add import files_of


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_killed_add_is_old_or_new(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.leaderboard.killed_add", str(tmp_path)]
    finished = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert finished.returncode == 0, finished.stderr
    seen = json.loads(finished.stdout)
    assert len(seen) > 20
    assert set(seen) == {"old", "new"}
    assert seen == sorted(seen, reverse=True), "once new, always new"


def test_whoever_waits_for_another_process_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(writing, "PATIENCE", 0.2)
    code = (
        f"import filelock, time; lock = filelock.FileLock({str(tmp_path / writing.LOCK)!r}); lock.acquire(); "
        "print('held', flush=True); time.sleep(1)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        replace_together(tmp_path, {"a": "new"})
    assert capfd.readouterr().err == f"{tmp_path} is in use by another process: waiting for it\n"
    replace_together(tmp_path, {"a": "newer"})
    assert capfd.readouterr().err == ""


def test_a_failed_write_leaves_the_old_files_and_no_other(tmp_path: Path) -> None:
    replace_together(tmp_path, {"a": "old", "b/c": "old"})
    before = files_of(tmp_path)
    with pytest.raises(UnicodeEncodeError):
        replace_together(tmp_path, {"a": "new", "b/c": "new \ud800"})
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out"])
def test_nothing_is_written_outside_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="leads out of"):
        replace_together(tmp_path / "board", {name: "x"})
    assert not list(tmp_path.rglob("out"))
