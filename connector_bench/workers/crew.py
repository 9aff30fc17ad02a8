"""Worker processes as the model's process sees them: work out, answers back in order, whatever becomes of a worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any, TypeVar

from loguru import logger

from connector_bench.pictures import reason
from connector_bench.workers.crossing import Messages, packed_once
from connector_bench.workers.first_process import FirstProcess, NoCrew
from connector_bench.workers.member import Answer, CannotShare, Member

T = TypeVar("T")

PREFETCHED_BYTES = 2**31
"""Answers that wait for the model take about this much memory at most."""


class Crew:
    """So many worker processes, at work.

    Args:
        first: what they divide from; it ends with them.
        count: of workers.
        shared: what messages refer to: objects that may be large, or not be imported elsewhere.
        pinned: whether a graphics card is to fetch the answers' tensors, which then lie in the workers' memory until
            they are released; else they are copied.

    Raises:
        NoCrew: what is shared cannot cross, or the workers have not started; `first` has ended then.
    """

    def __init__(self, first: FirstProcess, count: int, shared: Sequence[object], *, pinned: bool) -> None:
        self.count, self._first = count, first
        try:
            try:
                data = packed_once(shared)
            except Exception as error:
                raise NoCrew(f"what they need cannot be handed over: {reason(error)}") from error
            self._members = [
                Member(connection, number, pinned) for connection, number in first.divide(count, data)
            ]
        except BaseException:
            first.close()
            raise
        self._messages = Messages(shared)
        self._buried: list[Member] = []
        self._answers: dict[int, Answer] = {}
        self._abandoned: set[int] = set()
        self._tries: dict[int, int] = {}
        self._next_number = 0
        self._largest: dict[Any, int] = {}
        self._warned = False

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

    def while_alive(self, items: Iterator[T]) -> Iterator[T]:
        """Items as long as there are workers; what is left in the iterator then is for others to do."""
        while self.alive:
            try:
                item = next(items)
            except StopIteration:
                return
            yield item

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
            if member not in self._members:  # all have been dismissed meanwhile
                continue
            try:
                number, answer = member.hear()
            except CannotShare as error:
                self._dismiss(error)
            except (EOFError, OSError):
                self._bury(member)
            else:
                self._note(number, answer)

    def _note(self, number: int, answer: Answer) -> None:
        if number in self._abandoned:
            self._abandoned.discard(number)
            answer.release()
        else:
            self._answers[number] = answer

    def _abandon(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            answer = self._answers.pop(number, None)
            if answer is None:
                self._abandoned.add(number)
            else:
                answer.release()

    def _bury(self, member: Member) -> None:
        """A worker is gone: say so once for each, and have the others do what it was at."""
        if member not in self._members:
            return
        self._members.remove(member)
        self._buried.append(member)
        member.connection.close()
        left = f"{self.alive} go on" if self.alive else "threads of the model's own process go on"
        logger.warning(f"worker process {member.number} {self._first.how_ended(member.number)}; {left}")
        for number, task in member.begun.items():
            if number in self._abandoned:
                self._abandoned.discard(number)
                continue
            self._tries[number] = self._tries.get(number, 0) + 1
            if self._tries[number] > 1:
                self._answers[number] = Answer(failure="two worker processes ended over it", lost=True)
            else:
                self._give(number, task)

    def _dismiss(self, error: CannotShare) -> None:
        """Nothing that they make can be handed over: say so once, and have no more work done by them."""
        logger.warning(
            f"worker processes cannot hand over what they prepare: {error}; threads of the model's own process go on"
        )
        gone, self._members = self._members, []
        self._buried += gone
        for member in gone:
            member.connection.close()
            for number in member.begun.keys() - self._abandoned:
                self._answers[number] = Answer(failure=str(error), lost=True)
            self._abandoned -= member.begun.keys()

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
        self._first.close()
        for member in everyone:
            member.close()
