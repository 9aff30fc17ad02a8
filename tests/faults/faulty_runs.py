"""Runs of the real `lmms-eval` command line, each in a process of its own that a fault comes to at a chosen step.

    python -m tests.faults.faulty_runs      (requests as JSON on the standard input, one a line, one answer each)

Everything is imported once and every run is a fork, so that a run costs what it computes. A step is a change of the
file system below the output folder: opening for writing, making, renaming, removing, forcing onto the disk. Rows of
lmms-eval's sample files, which it opens once for every row, are no steps.
"""

from __future__ import annotations

import copy
import errno
import gc
import json
import os
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image

STEPS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink")
"""Audit events of what changes a file system; `os.fsync`, which has none, is wrapped."""
IMPORTED = (
    "lmms_eval.__main__",
    "lmms_eval.models",
    "lmms_eval.evaluator",
    "lmms_eval.models.model_utils.gen_metrics",
    *("faiss", "joblib", "nltk", "pytablewriter", "scipy.io", "sklearn", "multiprocessing.queues"),
    *(
        f"connector_bench.zoo.{name}"
        for name in ("encoder", "model", "shipped", "scenes", "objects", "splits")
    ),
)
"""What a run imports, now or at its first use."""
FAULTS = {
    "kill": "SIGKILL before the step",
    "torn": "dead as the first file after the step grows beyond 1,000 bytes",
    "refused": "no space, for this step alone",
    "limited": "from the step on no file may grow",
    "full": "another process takes all that is left of a small file system before the step",
    "state gone": "the folder of state and artefacts is removed before the step",
    "folder gone": "the whole output folder is",
    "terminate": "SIGTERM",
    "interrupt": "SIGINT",
}


class Fault:
    """Counts the steps below a folder, and comes at one of them."""

    def __init__(self, folder: Path, kind: str | None, step: int) -> None:
        self.folder, self.kind, self.step = str(folder), kind, step
        self.steps: list[str] = []
        self._busy = False

    def install(self) -> None:
        """From now on, for the rest of this process."""
        fsync = os.fsync

        def counted(number: Any) -> None:
            self.note("fsync", Path(f"/proc/self/fd/{number}").readlink())
            fsync(number)

        os.fsync = counted
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in STEPS or self._busy:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE):
            return
        self.note(event, arguments[0])

    def note(self, event: str, path: object) -> None:
        """One step."""
        name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if self._busy or not name.startswith(self.folder) or "_samples_" in name:
            return
        self.steps.append(f"{event} {name.removeprefix(self.folder)}")
        if self.kind is not None and len(self.steps) == self.step:
            self._busy = True
            try:
                self._come(Path(self.folder))
            finally:
                self._busy = False

    def _come(self, folder: Path) -> None:
        match self.kind:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "torn":
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
            case "refused":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
            case "limited":
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            case "full":
                fill(folder)
            case "state gone":
                shutil.rmtree(folder / "connector_bench", ignore_errors=True)
            case "folder gone":
                shutil.rmtree(folder, ignore_errors=True)
            case "terminate":
                os.kill(os.getpid(), signal.SIGTERM)
            case "interrupt":
                os.kill(os.getpid(), signal.SIGINT)


def fill(folder: Path) -> None:
    """Write until no byte is left. Not into a file system that others live on."""
    if not folder.is_mount():
        raise RuntimeError(f"{folder} is no file system of its own")
    number = os.open(folder / "ballast", os.O_WRONLY | os.O_CREAT)
    size = 2**20
    while size:
        try:
            os.write(number, bytes(size))
        except OSError:
            size //= 2
    os.close(number)


def begun(request: dict[str, Any], command_line: Callable[[], object]) -> tuple[int, int]:
    """Fork a run; its process and the end of a pipe with all that it says, the last line its steps as JSON."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    for stream in (1, 2):
        os.dup2(writing, stream)
    os.environ.update(request.get("environment", {}))
    folder = Path(request["folder"])
    fault = Fault(folder, request.get("fault"), request.get("step", 0))
    code = 1
    try:
        time.sleep(request.get("delay", 0))
        fault.install()
        sys.argv = ["lmms-eval", *request["arguments"], "--output_path", str(folder), "--log_samples"]
        command_line()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.write(1, ("\n" + json.dumps(fault.steps)).encode())
    os._exit(code)


def answered(requests: list[dict[str, Any]], command_line: Callable[[], object]) -> list[dict[str, Any]]:
    """Start these runs together and wait for all: status, output, steps, seconds and the files that are left."""
    start = time.monotonic()
    running = [begun(request, command_line) for request in requests]
    said = {reading: b"" for _, reading in running}
    ended = {}
    with selectors.DefaultSelector() as selector:
        for reading in said:
            selector.register(reading, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                chunk = os.read(key.fd, 2**16)
                said[key.fd] += chunk
                if not chunk:
                    selector.unregister(key.fd)
                    ended[key.fd] = time.monotonic() - start
                    os.close(key.fd)
    answers = []
    for request, (child, reading) in zip(requests, running, strict=True):
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output, _, last = said[reading].decode(errors="replace").rpartition("\n")
        steps = json.loads(last) if last.startswith("[") else []
        folder = Path(request["folder"])
        kept = [path for path in folder.rglob("*") if not path.is_dir() or path.name.startswith(".")]
        left = sorted(path.relative_to(folder).as_posix() for path in kept)
        answers.append(
            {"status": status, "said": output, "steps": steps, "seconds": ended[reading], "left": left}
        )
    return answers


@contextmanager
def file_system(folder: str, options: str | None) -> Iterator[bool]:
    """A small file system of its own in the folder, where the machine lets us; gone afterwards."""
    if options is None:
        yield True
        return
    Path(folder).mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    there = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield there
    finally:
        if there:
            subprocess.run(["umount", folder], check=True)


def read_index_once() -> None:
    """Let every fork have lmms-eval's own index of tasks, 3,000 files, without reading it again."""
    from lmms_eval.tasks import TaskManager

    read = TaskManager._get_task_and_group
    known = {}

    def remembered(self: Any, folder: str) -> Any:
        return copy.deepcopy(known[folder]) if folder in known else read(self, folder)

    def noted(self: Any, folder: str) -> Any:
        known[folder] = read(self, folder)
        return copy.deepcopy(known[folder])

    TaskManager._get_task_and_group = noted
    TaskManager(verbosity="ERROR")
    TaskManager._get_task_and_group = remembered


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what others print while they are imported is no answer
    for name in IMPORTED:
        import_module(name)
    Image.init()
    from lmms_eval.cli.dispatch import main as command_line

    read_index_once()
    gc.collect()
    gc.freeze()  # lmms-eval collects twice a run, and would go through all that was imported
    for line in sys.stdin:
        requests = json.loads(line)
        with file_system(requests[0]["folder"], requests[0].get("file_system")) as there:
            found = answered(requests, command_line) if there else None
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
