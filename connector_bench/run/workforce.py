"""Whether a run's pictures are decoded and prepared by worker processes, and what those need of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from loguru import logger

from connector_bench.connectors import ConnectorAdapter
from connector_bench.processes import rank_and_size
from connector_bench.run.documents import Document
from connector_bench.workers import workers_asked
from connector_bench.workers.crew import Crew, NoCrew

if TYPE_CHECKING:
    from collections.abc import Callable


MODULES = ("datasets", "transformers.processing_utils")
"""What data sets and processors rest on."""


class Workforce:
    """The workers of one run."""

    def __init__(self, adapter: ConnectorAdapter) -> None:
        self._asked, self._adapter = workers_asked(), adapter
        self.crew: Crew | None = None
        on_card = adapter.device.type == "cuda"
        pays = on_card and self._asked.number > 1 and adapter.preparer is not None
        if self._asked.kind == "processes" or (self._asked.kind is None and pays):
            self._attempt(self._start)

    def _start(self) -> None:
        if self._adapter.preparer is None:
            raise NoCrew("this model's pictures are prepared by its own wrapper, beside the model")
        self.crew = Crew(self._asked.number, pinned=self._adapter.device.type == "cuda", modules=MODULES)

    def hand_over(self, documents: Sequence[Document]) -> None:
        """Give worker processes, where there are any, the documents' data sets and the model's preparation."""
        if self.crew is not None:
            crew = self.crew
            sources = {id(rows): rows for rows in (one.rows for one in documents) if rows is not None}
            self._attempt(lambda: crew.hand_over([self._adapter.preparer, *sources.values()]))

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except NoCrew as error:
            self.close()
            if rank_and_size()[0] == 0:
                logger.warning(f"pictures are decoded and prepared by threads, not by processes: {error}")

    def close(self) -> None:
        """End worker processes."""
        if self.crew is not None:
            self.crew.close()
            self.crew = None

    def as_record(self) -> dict[str, object]:
        """Number and kind, ready for JSON."""
        kind = self._asked.kind if self._asked.kind == "none" else "threads"
        return {"workers": self._asked.number, "workers_are": "processes" if self.crew is not None else kind}


@contextmanager
def workforce(adapter: ConnectorAdapter) -> Iterator[Workforce]:
    """The workers of one run, ended with the block. Raises ValueError where the environment asks for none such."""
    workers = Workforce(adapter)
    try:
        yield workers
    finally:
        workers.close()
