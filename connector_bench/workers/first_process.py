"""The process that worker processes divide from, as the model's process sees it: started early, divided once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle

from connector_bench.pictures import reason

START_SECONDS = 300
END_SECONDS = 3.0
_START = (
    "import gc, json, sys; gc.disable(); sys.path[:] = json.loads(sys.argv[1]); "
    "from connector_bench.workers.crew_member import serve; serve(*json.loads(sys.argv[2]))"
)
_ALONE = {
    "CUDA_VISIBLE_DEVICES": "",
    "TOKENIZERS_PARALLELISM": "false",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}
"""A worker computes with one thread, and never on a graphics card."""


class NoCrew(RuntimeError):
    """There can be no worker processes; the message says why."""


class FirstProcess:
    """A process started anew, which imports what the work needs, for seconds, and then waits to be divided.

    It ends when this process does, or when it is closed.

    Args:
        modules: names of what it imports.

    Raises:
        NoCrew: this system has no anonymous files, or starts no process.
    """

    def __init__(self, modules: Sequence[str] = ()) -> None:
        try:
            os.close(os.memfd_create("connector_bench"))
            self._boss, other = Pipe()
        except AttributeError as error:
            raise NoCrew("this system has no memfd_create, by which processes share memory") from error
        except OSError as error:
            raise NoCrew(reason(error)) from error
        path = json.dumps([one for one in sys.path if isinstance(one, str)])
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, path, json.dumps([other.fileno(), list(modules)])],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | _ALONE,
                pass_fds=[other.fileno()],
                start_new_session=True,  # a signal to the terminal's processes is the run's affair
            )
        except OSError as error:
            self._boss.close()
            raise NoCrew(reason(error)) from error
        finally:
            other.close()
        self.number = self._process.pid
        self._ends: dict[int, int] = {}

    def divide(self, count: int, shared: bytes) -> list[tuple[Connection, int]]:
        """So many workers, each with its connection and its process's number; `shared` is what `packed_once` made.

        Raises:
            NoCrew: they have not started, or cannot read what they are given.
        """
        from PIL import Image

        ours: list[Connection] = []
        try:
            self._boss.send((count, Image.MAX_IMAGE_PIXELS))
            for _ in range(count):
                own, other = Pipe()
                ours.append(own)
                with other:
                    send_handle(self._boss, other.fileno(), self.number)
            self._boss.send_bytes(shared)
            if not self._boss.poll(START_SECONDS):
                raise NoCrew(f"they have not started within {START_SECONDS} s")
            answer = self._boss.recv()
            if isinstance(answer, str):
                raise NoCrew(f"what they need cannot be read there: {answer}")
        except (EOFError, OSError, NoCrew) as error:
            for one in ours:
                one.close()
            gone = isinstance(error, (EOFError, ConnectionError))
            why = "the first of them ended before it was ready" if gone else reason(error)
            raise (error if isinstance(error, NoCrew) else NoCrew(why)) from error
        return list(zip(ours, answer, strict=True))

    def how_ended(self, number: int) -> str:
        """How a worker has ended, as the end of a sentence."""
        while number not in self._ends:
            try:
                if not self._boss.poll(1):
                    break
                ended, code = self._boss.recv()
            except (EOFError, OSError):
                break
            self._ends[ended] = code
        code = self._ends.get(number)
        if code is None or code >= 0:
            return "has ended"
        why = " (memory may have run out)" if code == -signal.SIGKILL else ""
        return f"was ended by {signal.Signals(-code).name}{why}"

    def close(self) -> None:
        """End it and all workers; what does not end of itself is killed."""
        self._boss.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.number, signal.SIGKILL)
            self._process.wait()
