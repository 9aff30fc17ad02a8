"""Kills `leaderboard add` before every single change of the file system; a process of its own, since it forks.

    python -m tests.leaderboard.killed_add FOLDER

Prints for each step whether the board was old or new afterwards, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from connector_bench.leaderboard import board as boards
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
    """Do the work in a child that gets SIGKILL before its n-th change below a folder; False once it is done."""
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
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError("the work failed; its traceback is above")
    return os.WIFSIGNALED(status)


def main(root: Path) -> list[str]:
    old, new = root / "old", root / "new"
    for board in (old, new):
        boards.add(board, BEFORE)
    boards.add(new, ADDED, replace=True)
    expected = {"old": files_of(old), "new": files_of(new)}
    seen = []
    for step in range(1, 400):
        board = root / f"step{step}"
        boards.add(board, BEFORE)
        killed = killed_at(step, board, lambda board=board: boards.add(board, ADDED, replace=True))  # type: ignore[misc]
        stale = boards.stale_files(board)
        after = files_of(board)
        state = [name for name, files in expected.items() if files == after]
        seen.append(state[0] if state and not stale else f"a mixture: {sorted(after)}, stale: {stale}")
        if not killed:
            return seen
    raise RuntimeError("the work never ended")


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
