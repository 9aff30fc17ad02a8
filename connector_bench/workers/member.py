"""One worker as the model's process sees it: what it was given, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import Any

from connector_bench.pictures import reason
from connector_bench.processes.packing import Packed
from connector_bench.workers.in_threads import no_release
from connector_bench.workers.slabs import Filled, ReceivedSlab, part


class CannotShare(RuntimeError):
    """Processes cannot share memory here, which other work would meet as well; the message says why."""


@dataclass(frozen=True)
class Answer:
    """What became of an item of work."""

    value: Any = None
    failure: str | None = None
    """Why a worker could not do it, as for a picture that is damaged; this process is to do it then."""
    lost: bool = False
    """Whether that is because workers have ended, which has been said."""
    release: Callable[[], None] = no_release
    """To be called once the value's tensors are not needed any more: their memory is filled anew."""
    nbytes: int = 0


@dataclass(frozen=True)
class Answered:
    """What a worker sends; the descriptor of a new slab follows."""

    number: int
    """Of the work."""
    failure: str | None = None
    structure: bytes = b""
    filled: Filled | None = None
    cannot_share: bool = False
    """Whether the failure is that its tensors found no memory."""


@dataclass(eq=False)
class Member:
    """One worker, and the work that it was given and has not answered.

    With `pinned` a graphics card fetches the answers' tensors, which then lie in the worker's memory until they are
    released; else they are copied.
    """

    connection: Connection
    number: int
    """Of its process."""
    pinned: bool
    begun: dict[int, bytes] = field(default_factory=dict)
    slabs: dict[int, ReceivedSlab] = field(default_factory=dict)

    def hear(self) -> tuple[int, Answer]:
        """Its next answer, with the number of the work.

        Raises:
            EOFError, OSError: it has ended.
            CannotShare: it, or this process, has no memory or descriptor for what it made.
        """
        answered: Answered = self.connection.recv()
        if answered.cannot_share:
            raise CannotShare(answered.failure)
        filled = answered.filled
        slab = None if filled is None else self._slab(filled)
        self.begun.pop(answered.number)
        return answered.number, self._answer(answered, slab)

    def _answer(self, answered: Answered, slab: ReceivedSlab | None) -> Answer:
        structure, filled = answered.structure, answered.filled
        if answered.failure is not None:
            return Answer(failure=answered.failure)
        if filled is None or slab is None:
            return Answer(Packed(structure, []).value(), nbytes=len(structure))
        tensors = [part(slab.bytes, first, shape) for first, shape in filled.places]
        release: Callable[[], None] = _Loan(self.connection, filled.slab)
        if not self.pinned:
            tensors = [one.clone() for one in tensors]
            release()
            release = no_release
        return Answer(Packed(structure, tensors).value(), release=release, nbytes=filled.size)

    def _slab(self, filled: Filled) -> ReceivedSlab:
        for gone in filled.dropped:
            self.slabs.pop(gone).close()
        if filled.made:
            try:
                descriptor = recv_handle(self.connection)
                self.slabs[filled.slab] = ReceivedSlab(descriptor, filled.size, pinned=self.pinned)
            except (
                OSError,
                RuntimeError,
            ) as error:  # RuntimeError: no descriptor is left for the one that came
                raise CannotShare(reason(error)) from error
        return self.slabs[filled.slab]

    def close(self) -> None:
        """No card fetches from its memory any more."""
        self.connection.close()
        for slab in self.slabs.values():
            slab.close()


class _Loan:
    """The tensors of one answer, until they are given back."""

    def __init__(self, connection: Connection, slab: int) -> None:
        self._connection, self._slab, self._over = connection, slab, False

    def __call__(self) -> None:
        """Have their memory filled anew; the second time does nothing."""
        if self._over:
            return
        self._over = True
        with suppress(OSError):  # that a worker is gone is noticed where it is listened to
            self._connection.send((None, self._slab))
