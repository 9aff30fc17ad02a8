"""The worker processes' own side.

A first process, started anew so that it holds neither the model nor its threads, imports what the work needs, takes
what the run hands over, and divides into the workers. They work until the connection to the model's process closes, as
it does whichever way that process ends; no worker outlives it by more than what it is at.
"""

from __future__ import annotations

import gc
import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from typing import Any

from connector_bench.pictures import reason
from connector_bench.processes.packing import Packed
from connector_bench.workers.crossing import Messages
from connector_bench.workers.slabs import OwnSlabs


def serve(told_by: int, members: Sequence[int], modules: Sequence[str]) -> None:
    """The first process: descriptors of its own connection and of the workers', and what to import meanwhile."""
    import dill
    from PIL import Image

    for name in modules:
        with suppress(Exception):  # where it is needed after all, its error is told
            import_module(name)
    boss = Connection(told_by)
    try:
        most_pixels = boss.recv()
        shared = dill.loads(boss.recv_bytes())
    except EOFError:
        return
    except Exception as error:
        boss.send(reason(error))
        return
    Image.MAX_IMAGE_PIXELS = most_pixels
    Image.preinit()
    Image.init()
    numbers = {}
    for member in members:
        number = os.fork()
        if number == 0:
            boss.close()
            for other in members:
                if other != member:
                    os.close(other)
            try:
                work(Connection(member), shared)
            finally:
                os._exit(0)
        numbers[number] = member
    for member in members:
        os.close(member)
    with suppress(OSError):
        boss.send(list(numbers))
    while numbers:
        number, status = os.wait()
        numbers.pop(number, None)
        with suppress(OSError):
            boss.send((number, os.waitstatus_to_exitcode(status)))
    os._exit(0)  # what it has imported takes seconds to end in order


def work(connection: Connection, shared: Sequence[object]) -> None:
    """One worker: messages in, answers out, in their order, until the connection closes."""
    import torch

    torch.set_num_threads(1)
    gc.freeze()
    messages, slabs = Messages(shared), OwnSlabs()
    waiting: deque[Any] = deque()
    while True:
        try:
            while not waiting or connection.poll():
                message = connection.recv()
                if message[0] is None:
                    slabs.released(message[1])
                else:
                    waiting.append(message)
            _answer(connection, messages, slabs, *waiting.popleft())
        except (EOFError, OSError):
            return


def _answer(connection: Connection, messages: Messages, slabs: OwnSlabs, number: int, task: bytes) -> None:
    filled, descriptor, structure = None, -1, b""
    failure: str | None = None
    try:
        do, item = messages.read(task)
        packed = Packed.of(do(item))
        structure = packed.structure
        if packed.tensors:
            filled, descriptor = slabs.fill(packed.tensors)
    except Exception as error:
        failure = reason(error)
    connection.send((number, failure, structure, filled))
    if descriptor >= 0:
        send_handle(connection, descriptor, 0)
        os.close(descriptor)
