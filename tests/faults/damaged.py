"""Runs a command on a damaged copy of real files, and says what it did that it must not."""

from __future__ import annotations

import hashlib
import signal
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

from typer.testing import CliRunner

from connector_bench.cli import app
from tests.faults.drawn_once import drawn_once
from tests.faults.mutators import mutate, restore
from tests.faults.real_runs import CONNECTORS

LONGEST_MESSAGE = 2000
PATIENCE, WAITED = 60, 600
"""Seconds after which a command hangs: of the processor, and by the clock, which a busy machine makes long."""
REFUSALS = ("refused: ", "no report: ", "no plate: ", "cannot write: ", "stale: ", "moved: ")
TOLD = {"analyze": ("no figure: ",)}
"""What stands in the tables of a command that ends with 1 since there is nothing else to show."""

Commands = Callable[[Path, Path], Sequence[str]]
"""From the folder of runs and an empty folder to the command's arguments."""

COMMANDS: dict[str, Commands] = {
    "compare": lambda runs, out: [
        "compare",
        *(str(runs / name) for name in CONNECTORS),
        "--output",
        str(out / "c"),
    ],
    "analyze": lambda runs, out: ["analyze", str(runs), "--json", str(out / "a.json")],
    "report": lambda runs, out: ["report", str(runs / CONNECTORS[0]), "-o", str(out / "r.html")],
    "plates": lambda runs, out: [
        "plates",
        str(runs),
        "-o",
        str(out / "p"),
        "--worst",
        "1",
        "--neighbours",
        "2",
    ],
    "leaderboard": lambda runs, out: [
        "leaderboard",
        "add",
        str(runs),
        "--pictures",
        "--board",
        str(out / "b"),
    ],
}


class Hanging(BaseException):
    """Not an Exception, so that no command takes it for a damaged file."""


def faults_of(command: str, originals: Path, work: Path, seeds: Sequence[int]) -> list[str]:
    """What went wrong in a command on the files below `originals`, first as they are, then each time with one damaged
    by this seed.

    For `leaderboard` every second seed damages the files of a board instead, which are then read for another add.
    """
    faults = []
    runs, out = work / "runs", work / "out"
    with drawn_once() as drawings:
        for seed in (None, *seeds):
            restore(runs, originals / "runs")
            restore(out, originals / "out")
            if seed is None:
                where = "nothing"
            else:
                board = command == "leaderboard" and seed % 2 == 1
                where = mutate(out / "b" if board else runs, Random(f"{command} {seed}"))
            faults += [f"{command} {seed}, {where}: {fault}" for fault in _faults(command, runs, out)]
            drawings.learning = False
    return faults


def _faults(command: str, runs: Path, out: Path) -> Iterator[str]:
    before = {folder: state_of(folder) for folder in (runs, out)}
    try:
        with at_most(PATIENCE, WAITED):
            result = CliRunner().invoke(app, list(COMMANDS[command](runs, out)))
    except Hanging:
        yield f"hangs: {PATIENCE} s of the processor or {WAITED} s by the clock"
        return
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        yield f"{type(result.exception).__name__}: {result.exception!s:.200}"
    elif result.exit_code not in (0, 1):
        yield f"ends with {result.exit_code}: {result.output[-300:]}"
    elif result.exit_code == 1:
        # `analyze` may tell in its tables what it refused or could not join
        said = result.stderr if result.stderr or command != "analyze" else result.stdout
        begun = [said.find(word) for word in (*REFUSALS, *TOLD.get(command, ())) if word in said]
        if not begun:
            yield f"ends with 1 and no reason: {said[-300:]!r}"
        elif len(result.stderr[min(begun) :]) > LONGEST_MESSAGE:
            yield f"a message of {len(result.stderr)} characters: {result.stderr[:100]}"
    if "Traceback" in result.output:
        yield "a traceback"
    if state_of(runs) != before[runs]:
        yield "changed what it read"
    left = state_of(out)
    if result.exit_code == 1 and left != before[out] and command != "analyze":
        yield f"refused, and left {sorted(set(left) ^ set(before[out]))[:5]}"
    yield from (
        f"left half written: {name}" for name in left if "/." in f"/{name}" and not name.endswith(".lock")
    )


def state_of(folder: Path) -> dict[str, str]:
    """Everything below a folder: contents of files, and what else there is."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        content = (
            hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(mode) else oct(stat.S_IFMT(mode))
        )
        if not stat.S_ISDIR(mode):
            found[path.relative_to(folder).as_posix()] = content
    return found


@contextmanager
def at_most(computing: int, waiting: int) -> Iterator[None]:
    """Raise Hanging where the block takes longer, in seconds of the processor or by the clock."""

    def stop(*_: object) -> None:
        raise Hanging

    clocks = {signal.ITIMER_PROF: signal.SIGPROF, signal.ITIMER_REAL: signal.SIGALRM}
    before = {number: signal.signal(number, stop) for number in clocks.values()}
    for clock, seconds in zip(clocks, (computing, waiting), strict=True):
        signal.setitimer(clock, seconds)
    try:
        yield
    finally:
        for clock in clocks:
            signal.setitimer(clock, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
