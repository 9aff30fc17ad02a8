"""A crash at any step of `add` leaves all files old or all files new."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from connector_bench.leaderboard import board as boards
from connector_bench.leaderboard.writing import replace_together
from tests.leaderboard.runs import a_run, answers, preservation

BEFORE = [a_run(name, knn_preservation=preservation(kept)) for name, kept in (("a", 0.5), ("b", 0.4))]
ADDED = [
    a_run(name, date="20260102_000000", knn_preservation=preservation(kept), vqa=answers(kept))
    for name, kept in (("b", 0.6), ("c", 0.3))
]
STEPS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.unlink", "shutil.rmtree")
"""Audit events of everything that changes a file system."""


def files_of(board: Path) -> dict[str, bytes]:
    return {
        path.relative_to(board).as_posix(): path.read_bytes()
        for path in board.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def killed_at(step: int, folder: Path, work: Callable[[], object]) -> bool:
    """Do the work in a process that gets SIGKILL before its n-th change below a folder; False once it is done."""
    child = os.fork()
    if child == 0:
        counted = 0

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal counted
            writes = event != "open" or (isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE)
            if event in STEPS and writes and str(folder) in str(arguments[0]):
                counted += 1
                if counted == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_killed_add_is_old_or_new(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for board in (old, new):
        boards.add(board, BEFORE)
    boards.add(new, ADDED, replace=True)
    expected = {"old": files_of(old), "new": files_of(new)}
    assert expected["old"] != expected["new"]
    seen = []
    for step in range(1, 200):
        board = tmp_path / f"step{step}"
        boards.add(board, BEFORE)
        alive = not killed_at(step, board, lambda board=board: boards.add(board, ADDED, replace=True))
        assert boards.stale_files(board) == []
        after = files_of(board)
        state = next((name for name, files in expected.items() if files == after), None)
        assert state is not None, (step, sorted(after))
        seen.append(state)
        if alive:
            break
    assert alive
    assert len(seen) > 20
    assert seen == sorted(seen, reverse=True), "once new, always new"


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
