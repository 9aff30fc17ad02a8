"""Worker processes as the model's process sees them: work out, answers back in order, whatever becomes of a worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle
from typing import Any, TypeVar

from loguru import logger

from connector_bench.pictures import reason
from connector_bench.processes.packing import Packed
from connector_bench.workers.crossing import Messages, packed_once
from connector_bench.workers.slabs import Filled, ReceivedSlab, part

T = TypeVar("T")

PREFETCHED_BYTES = 2**31
"""Answers that wait for the model take about this much memory at most."""
START_SECONDS = 300
END_SECONDS = 3.0
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from connector_bench.workers.crew_member import serve; "
    "serve(*json.loads(sys.argv[2]))"
)
_ALONE = {
    "CUDA_VISIBLE_DEVICES": "",
    "TOKENIZERS_PARALLELISM": "false",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}
"""A worker computes with one thread, and never on a graphics card."""


class NoCrew(RuntimeError):
    """There can be no worker processes; the message says why."""


def _nothing() -> None:
    """What is copied needs no release."""


@dataclass(frozen=True)
class Answer:
    """What became of an item of work."""

    value: Any = None
    failure: str | None = None
    """Why a worker could not do it, as for a picture that is damaged; this process is to do it then."""
    lost: bool = False
    """Whether that is because workers have ended, which has been said."""
    release: Callable[[], None] = _nothing
    """To be called once the value's tensors are not needed any more: their memory is filled anew."""
    nbytes: int = 0


@dataclass(eq=False)
class _Member:
    connection: Connection
    number: int = 0
    """Of its process."""
    begun: dict[int, bytes] = field(default_factory=dict)
    """Work that it was given and has not answered."""
    slabs: dict[int, ReceivedSlab] = field(default_factory=dict)


class _Loan:
    """The tensors of one answer, until they are given back."""

    def __init__(self, member: _Member, slab: int) -> None:
        self._member, self._slab, self._over = member, slab, False

    def __call__(self) -> None:
        """Have their memory filled anew; the second time does nothing."""
        if self._over:
            return
        self._over = True
        with suppress(OSError):  # that a worker is gone is noticed where it is listened to
            self._member.connection.send((None, self._slab))


class Crew:
    """So many worker processes. They start at once, and work once `hand_over` has given them what all work needs.

    Args:
        count: of workers.
        pinned: whether a graphics card is to fetch the answers' tensors, which then lie in the workers' memory until
            they are released; else they are copied.
        modules: names of what the work will import, which takes seconds: it begins at once.

    Raises:
        NoCrew: this system has no anonymous files, or starts no process.
    """

    kind = "processes"

    def __init__(self, count: int, *, pinned: bool, modules: Sequence[str] = ()) -> None:
        if not hasattr(os, "memfd_create"):
            raise NoCrew("this system has no memfd_create, by which processes share memory")
        self.count, self._pinned = count, pinned
        self._buried: list[_Member] = []
        self._ends: dict[int, int] = {}
        self._answers: dict[int, Answer] = {}
        self._abandoned: set[int] = set()
        self._tries: dict[int, int] = {}
        self._next_number = 0
        self._largest: dict[Any, int] = {}
        self._warned = False
        theirs: list[Connection] = []
        self._members: list[_Member] = []
        try:
            self._boss, boss_end = Pipe()
            theirs.append(boss_end)
            for _ in range(count):
                ours, other = Pipe()
                self._members.append(_Member(ours))
                theirs.append(other)
            ends = [end.fileno() for end in theirs]
            path = json.dumps([one for one in sys.path if isinstance(one, str)])
            self._first = subprocess.Popen(
                [sys.executable, "-c", _START, path, json.dumps([ends[0], ends[1:], list(modules)])],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | _ALONE,
                pass_fds=ends,
                start_new_session=True,  # a signal to the terminal's processes is the run's affair
            )
        except OSError as error:
            raise NoCrew(reason(error)) from error
        finally:
            for end in theirs:
                end.close()

    def hand_over(self, shared: Sequence[object]) -> None:
        """Give the workers what messages refer to: objects that may be large, or not be imported elsewhere.

        Raises:
            NoCrew: one of them cannot cross, or the workers have not started.
        """
        from PIL import Image

        try:
            data = packed_once(shared)
        except Exception as error:
            raise NoCrew(f"what they need cannot be handed over: {reason(error)}") from error
        try:
            self._boss.send(Image.MAX_IMAGE_PIXELS)
            self._boss.send_bytes(data)
            if not self._boss.poll(START_SECONDS):
                raise NoCrew(f"they have not started within {START_SECONDS} s")
            answer = self._boss.recv()
        except (EOFError, OSError) as error:
            raise NoCrew("the first of them ended before it was ready") from error
        if isinstance(answer, str):
            raise NoCrew(f"what they need cannot be read there: {answer}")
        for member, number in zip(self._members, answer, strict=True):
            member.number = number
        self._messages = Messages(shared)

    @property
    def alive(self) -> int:
        """How many are left."""
        return len(self._members)

    def in_order(self, work: Callable[[T], Any], items: Iterable[T]) -> Iterator[tuple[T, Answer]]:
        """Every item with `work` of it, in the items' order, begun ahead of it as far as memory allows.

        Items are asked for by the thread that takes the answers. What a worker cannot do, or two were lost over, comes
        back as a failure, and so does all once none is left. Raises what the items raise.
        """
        begun: deque[tuple[T, int]] = deque()
        try:
            for item in items:
                begun.append((item, self._begin(work, item)))
                while len(begun) >= self._ahead(work):
                    yield begun[0][0], self._awaited(work, begun)
            while begun:
                yield begun[0][0], self._awaited(work, begun)
        finally:
            self._abandon(number for _, number in begun)

    def _ahead(self, work: Callable[..., Any]) -> int:
        largest = self._largest.get(work)
        if largest is None:
            return self.count + 1
        return max(2, min(2 * self.count + 1, PREFETCHED_BYTES // max(largest, 1)))

    def _begin(self, work: Callable[[T], Any], item: T) -> int:
        number, self._next_number = self._next_number, self._next_number + 1
        try:
            task = self._messages.written((work, item))
        except Exception as error:
            self._answers[number] = Answer(failure=reason(error))
            return number
        self._give(number, task)
        return number

    def _give(self, number: int, task: bytes) -> None:
        while self._members:
            member = min(self._members, key=lambda one: len(one.begun))
            member.begun[number] = task
            try:
                member.connection.send((number, task))
            except OSError:
                del member.begun[number]
                self._bury(member)
            else:
                return
        self._answers[number] = Answer(failure="no worker process is left", lost=True)

    def _awaited(self, work: Callable[..., Any], begun: deque[tuple[T, int]]) -> Answer:
        number = begun[0][1]
        while number not in self._answers:
            self._listen()
        begun.popleft()
        self._tries.pop(number, None)
        answer = self._answers.pop(number)
        self._largest[work] = max(self._largest.get(work, 0), answer.nbytes)
        return answer

    def _listen(self) -> None:
        """Take in what has been answered; wait until something has."""
        by_connection = {member.connection: member for member in self._members}
        for connection in wait(list(by_connection)):
            member = by_connection[connection]  # type: ignore[index]
            try:
                self._hear(member)
            except (EOFError, OSError):
                self._bury(member)

    def _hear(self, member: _Member) -> None:
        number, failure, structure, filled = member.connection.recv()
        slab = None if filled is None else self._slab(member, filled)
        member.begun.pop(number)
        if number in self._abandoned:
            self._abandoned.discard(number)
            if filled is not None:
                _Loan(member, filled.slab)()
            return
        if failure is not None:
            self._answers[number] = Answer(failure=failure)
            return
        if filled is None or slab is None:
            self._answers[number] = Answer(Packed(structure, []).value(), nbytes=len(structure))
            return
        tensors = [part(slab.bytes, first, shape) for first, shape in filled.places]
        release: Callable[[], None] = _Loan(member, filled.slab)
        if not self._pinned:
            tensors = [one.clone() for one in tensors]
            release()
            release = _nothing
        value = Packed(structure, tensors).value()
        self._answers[number] = Answer(value, release=release, nbytes=filled.size)

    def _slab(self, member: _Member, filled: Filled) -> ReceivedSlab:
        for gone in filled.dropped:
            member.slabs.pop(gone).close()
        if filled.made:
            descriptor = recv_handle(member.connection)
            member.slabs[filled.slab] = ReceivedSlab(descriptor, filled.size, pinned=self._pinned)
        return member.slabs[filled.slab]

    def _abandon(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            answer = self._answers.pop(number, None)
            if answer is None:
                self._abandoned.add(number)
            else:
                answer.release()

    def _bury(self, member: _Member) -> None:
        """A worker is gone: say so once for each, and have the others do what it was at."""
        if member not in self._members:
            return
        self._members.remove(member)
        self._buried.append(member)
        member.connection.close()
        left = (
            f"{self.alive} go on"
            if self.alive
            else "the model's own process decodes and prepares from here on"
        )
        logger.warning(f"worker process {member.number} {self._how(member.number)}; {left}")
        for number, task in member.begun.items():
            if number in self._abandoned:
                self._abandoned.discard(number)
                continue
            self._tries[number] = self._tries.get(number, 0) + 1
            if self._tries[number] > 1:
                self._answers[number] = Answer(failure="two worker processes ended over it", lost=True)
            else:
                self._give(number, task)

    def _how(self, number: int) -> str:
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

    def differed(self, answer: Answer) -> None:
        """This process could do what no worker could: say so once."""
        if not self._warned and not answer.lost:
            self._warned = True
            logger.warning(
                f"a worker process failed where this process does not: {answer.failure}; it does such work itself"
            )

    def close(self) -> None:
        """End them all; answers that were not released must not be used any more."""
        everyone = [*self._members, *self._buried]
        self._members = []
        for member in everyone:
            member.connection.close()
        self._boss.close()
        try:
            self._first.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._first.pid, signal.SIGKILL)
            self._first.wait()
        for slab in (one for member in everyone for one in member.slabs.values()):
            slab.close()
