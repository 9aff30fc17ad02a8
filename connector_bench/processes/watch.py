"""Ranks that see each other live: one that dies, by `kill -9` too, ends the others within seconds.

A thread of every rank sends a beat to every other, every few seconds, over connections of its own. The system closes
those of a process that is gone, which is noticed at the next beat; a machine that is gone, or a process that stands
still, is noticed after `SILENCE`, which is long, since an extension may keep Python's lock for minutes. How long a
living rank works makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import Any

from connector_bench.processes.ending import Ending
from connector_bench.processes.group import cpu_group, rank_and_size

PERIOD = 2.0
"""Seconds between beats."""
SILENCE = timedelta(minutes=10)
"""A connected process that says nothing for so long is taken for dead."""
MEASURING, DONE = 0, -1


class Watch:
    """This rank's thread that beats and listens."""

    def __init__(self, ending: Ending) -> None:
        self._ending = ending
        self._others = [rank for rank in range(ending.size) if rank != ending.rank]
        self._group = cpu_group(SILENCE)
        self._says = MEASURING
        self._news, self._told = Event(), Event()
        self._thread = Thread(target=self._run, daemon=True, name="watch")

    def __enter__(self) -> Watch:
        self._ending.last_word = self._last_word
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        """Wait until all ranks are done: from then on a process that ends is none that is missing."""
        self._say(DONE)
        self._thread.join()

    def _say(self, word: int) -> None:
        self._says = word
        self._told.clear()
        self._news.set()

    def _last_word(self, number: int) -> None:
        """Tell the others why this one ends; after a loss, let them find out for themselves who was lost."""
        if number > 0:
            self._say(number)
        self._told.wait(3 * PERIOD)

    def _run(self) -> None:
        passed_on = False
        while True:
            self._news.clear()
            word = self._says
            heard = self._round(word)
            if word == self._says:
                self._told.set()
            if word == DONE and all(other == DONE for other in heard):
                return
            asked = [other for other in heard if other > 0]
            if asked and not passed_on:
                passed_on = True
                self._ending.signalled_elsewhere(asked[0])
            self._news.wait(PERIOD)

    def _round(self, word: int) -> list[int]:
        """Tell every other rank, and hear every other; where one is gone the process ends here."""
        import torch
        import torch.distributed as dist

        mine, missing = torch.tensor([word]), dict[int, str]()
        sent: dict[int, Any] = {}
        for rank in self._others:
            try:
                sent[rank] = dist.isend(mine, rank, group=self._group)
            except RuntimeError as error:
                missing[rank] = str(error)
        heard = []
        for rank in self._others:
            word_of = torch.zeros(1, dtype=torch.int64)
            try:
                dist.recv(word_of, rank, group=self._group)
                heard.append(int(word_of))
            except RuntimeError as error:
                missing[rank] = str(error)
        if not missing:
            for rank, sending in sent.items():
                try:
                    sending.wait()
                except RuntimeError as error:
                    missing[rank] = str(error)
        if missing:
            self._told.set()
        for rank, why in missing.items():
            silent = "imed out" in why or "imeout" in why
            how = f"has said nothing for {SILENCE}" if silent else "has ended before its work was done"
            self._ending.lost(rank, how)
        return heard


@contextmanager
def watched() -> Iterator[None]:
    """While it lasts, signals and the loss of another rank end this process in order. Entered and left by all ranks."""
    with Ending(*rank_and_size()) as ending:
        if ending.size == 1:
            yield
            return
        with Watch(ending):
            yield
