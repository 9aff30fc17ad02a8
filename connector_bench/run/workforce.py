"""Whether a run's pictures are decoded and prepared by worker processes, and what those need of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from loguru import logger

from connector_bench.connectors import ConnectorAdapter
from connector_bench.processes import rank_and_size
from connector_bench.progress import doing
from connector_bench.run.documents import Document
from connector_bench.workers import WorkersAsked, workers_asked
from connector_bench.workers.crew import Crew
from connector_bench.workers.first_process import FirstProcess, NoCrew

MODULES = ("torch", "datasets", "transformers.processing_utils")
"""What data sets and processors rest on."""

_early: list[FirstProcess] = []
"""The one that waits for its run, if any."""


def expect_pictures() -> None:
    """Told as soon as it is known that pictures will be measured: what workers import is imported while a model loads.

    Nothing happens where the run will not want worker processes, as far as that can be known before its model.
    """
    import torch

    with suppress(ValueError, NoCrew):  # said when the run begins
        if not _early and _wanted(workers_asked(), on_card=torch.cuda.is_available()):
            _early.append(FirstProcess(MODULES))


def _wanted(asked: WorkersAsked, *, on_card: bool) -> bool:
    return asked.kind == "processes" or (asked.kind is None and on_card and asked.number > 1)


class Workforce:
    """The workers of one run."""

    def __init__(self, adapter: ConnectorAdapter) -> None:
        self._asked, self._adapter = workers_asked(), adapter
        self._on_card = adapter.device.type == "cuda"
        self._first = _early.pop() if _early else None
        self.crew: Crew | None = None
        if not _wanted(self._asked, on_card=self._on_card):
            self.close()
        elif adapter.preparer is not None:
            with self._or_threads():
                self._first = self._first or FirstProcess(MODULES)
        else:
            with self._or_threads(say=self._asked.kind is not None):
                raise NoCrew("this model's pictures are prepared by its own wrapper, beside the model")

    def hand_over(self, documents: Sequence[Document]) -> None:
        """Give worker processes, where there are any, the documents' data sets and the model's preparation."""
        if self._first is None:
            return
        sources = {id(rows): rows for rows in (one.rows for one in documents) if rows is not None}
        shared = [self._adapter.preparer, *sources.values()]
        with self._or_threads(), doing("Starting worker processes"):
            self.crew = Crew(self._first, self._asked.number, shared, pinned=self._on_card)

    @contextmanager
    def _or_threads(self, *, say: bool = True) -> Iterator[None]:
        try:
            yield
        except NoCrew as error:
            self.close()
            if say and rank_and_size()[0] == 0:
                logger.warning(f"pictures are decoded and prepared by threads, not by processes: {error}")

    def close(self) -> None:
        """End worker processes."""
        if self.crew is not None:
            self.crew.close()
        elif self._first is not None:
            self._first.close()
        self._first = self.crew = None

    def as_record(self) -> dict[str, object]:
        """Number and kind, ready for JSON."""
        kind = self._asked.kind if self._asked.kind == "none" else "threads"
        at_work = self.crew is not None and self.crew.alive
        return {"workers": self._asked.number, "workers_are": "processes" if at_work else kind}


@contextmanager
def workforce(adapter: ConnectorAdapter) -> Iterator[Workforce]:
    """The workers of one run, ended with the block. Raises ValueError where the environment asks for none such."""
    workers = Workforce(adapter)
    try:
        yield workers
    finally:
        workers.close()
