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
from dataclasses import replace
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

from connector_bench.pictures import reason
from connector_bench.processes.packing import Packed
from connector_bench.workers.crossing import Messages
from connector_bench.workers.member import Answered
from connector_bench.workers.slabs import OwnSlabs


def serve(told_by: int, modules: Sequence[str]) -> None:
    """The first process: descriptor of its connection, and what to import until it is told to divide."""
    import dill
    from PIL import Image

    for name in modules:
        with suppress(Exception):  # where it is needed after all, its error is told
            import_module(name)
    boss = Connection(told_by)
    members: list[int] = []
    try:
        count, most_pixels = boss.recv()
        members += (recv_handle(boss) for _ in range(count))
        shared = dill.loads(boss.recv_bytes())
    except EOFError:
        os._exit(0)  # what it has imported takes seconds to end in order
    except Exception as error:
        with suppress(OSError):
            boss.send(reason(error))
        os._exit(1)
    Image.MAX_IMAGE_PIXELS = most_pixels
    Image.preinit()
    Image.init()
    gc.freeze()
    numbers = []
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
        numbers.append(number)
    for member in members:
        os.close(member)
    with suppress(OSError):
        boss.send(numbers)
    for _ in numbers:
        ended, status = os.wait()
        with suppress(OSError):
            boss.send((ended, os.waitstatus_to_exitcode(status)))
    os._exit(0)


def work(connection: Connection, shared: Sequence[object]) -> None:
    """One worker: messages in, answers out, in their order, until the connection closes."""
    import torch

    torch.set_num_threads(1)
    gc.enable()
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
    descriptor, shared = -1, False
    try:
        do, item = messages.read(task)
        packed = Packed.of(do(item))
        answered = Answered(number, structure=packed.structure)
        if packed.tensors:
            shared = True
            filled, descriptor = slabs.fill(packed.tensors)
            answered = replace(answered, filled=filled)
    except Exception as error:
        answered = Answered(number, reason(error), cannot_share=shared)
    connection.send(answered)
    if descriptor >= 0:
        send_handle(connection, descriptor, 0)
        os.close(descriptor)
