"""Batches made ready ahead of the model, by threads of this process or by worker processes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union, cast

from connector_bench.connectors.base import ConnectorAdapter, Prepared
from connector_bench.pictures import reason
from connector_bench.timing import Timing
from connector_bench.workers import in_order, no_release, worker_count, worker_threads

if TYPE_CHECKING:
    from PIL.Image import Image

    from connector_bench.workers.crew import Crew
    from connector_bench.workers.member import Answer

Picture = Union["Image", Callable[[], "Image"]]
"""An RGB picture, or what gives it."""
Batch = Sequence[tuple[str, Picture]]
Preparing = Callable[[Sequence[tuple[str, "Image"]]], Prepared]


@dataclass
class LeftOut:
    """Pictures of a stream that gave no tokens that could be measured, each with the reason."""

    refused: dict[str, str] = field(default_factory=dict)
    """By the wrapper's preparation, the processor or the model, which takes an ordinary picture."""
    not_finite: dict[str, str] = field(default_factory=dict)
    """Their tokens hold NaN or infinity."""


@dataclass(frozen=True)
class Ready:
    """One batch as a worker hands it over: prepared, or its pictures where the model's own thread prepares."""

    batch: Batch
    pictures: Sequence[tuple[str, Image]] = ()
    prepared: Prepared | None = None
    failed: bool = False
    """Whether its pictures could not be prepared together."""
    release: Callable[[], None] = no_release
    """To be called once the model has taken the inputs."""

    @property
    def size(self) -> int:
        """Its pictures, without those that cannot be had."""
        return len(self.pictures if self.prepared is None else self.prepared.images)


@dataclass(frozen=True)
class Readying:
    """How one stream's batches are made ready."""

    adapter: ConnectorAdapter
    left_out: LeftOut | None
    timing: Timing
    crew: Crew | None = None

    def ahead(self, batches: Iterable[Batch]) -> Generator[Ready, None, None]:
        """Every batch, in order. Raises what the batches raise, and without `left_out` what their pictures raise."""
        waiting = iter(batches)
        if self.crew is not None and self.adapter.preparer is not None:
            yield from self._elsewhere(self.crew, self.adapter.preparer, waiting)
            if self.crew.alive:
                return
        count = worker_count()
        with worker_threads(count) as pool:
            yield from in_order(pool, self.here, waiting, count + 1)

    def _elsewhere(self, crew: Crew, preparing: Preparing, batches: Iterator[Batch]) -> Iterator[Ready]:
        """Batches as long as there are worker processes."""
        items = ((preparing, batch) for batch in crew.while_alive(batches))
        for (_, batch), answer in crew.in_order(made_ready, items):
            if answer.failure is not None:
                ready = self.here(batch)  # each refusal is this process's own
                if not ready.failed and ready.size == len(batch):
                    crew.differed(answer)
                yield ready
                continue
            yield self._received(batch, answer)

    def _received(self, batch: Batch, answer: Answer) -> Ready:
        made: MadeReady = answer.value
        self.timing.add("decode", made.decoding)
        self.timing.add("prepare", made.preparing)
        return Ready(batch, prepared=made.prepared, release=answer.release)

    def here(self, batch: Batch) -> Ready:
        """The work of a thread."""
        pictures = self.decoded(batch)
        if not (pictures and self.adapter.prepares_ahead):
            return Ready(batch, pictures)
        try:
            return Ready(batch, prepared=self.prepared(pictures))
        except Exception:
            if self.left_out is None:
                raise
        return Ready(batch, failed=True)

    def decoded(self, batch: Batch) -> list[tuple[str, Image]]:
        """The batch without those that cannot be had, which are noted; without `left_out` what they raise is raised."""
        found = []
        with self.timing.of("decode"):
            for name, picture in batch:
                try:
                    given = picture() if callable(picture) and self.adapter.needs_pictures else picture
                    found.append((name, cast("Image", given)))
                except Exception as error:
                    if self.left_out is None:
                        raise
                    self.left_out.refused[name] = reason(error)
        return found

    def prepared(self, pictures: Sequence[tuple[str, Image]]) -> Prepared:
        """Pictures as model inputs. Raises what the adapter raises."""
        with self.timing.of("prepare"):
            return self.adapter.prepare(pictures)


@dataclass(frozen=True)
class MadeReady:
    """What a worker process has made of a batch, and the seconds that it took."""

    prepared: Prepared
    decoding: float
    preparing: float


def made_ready(work: tuple[Preparing, Batch]) -> MadeReady:
    """The work of a process. Raises what decoding and preparing raise."""
    preparing, batch = work
    timing = Timing()
    with timing.of("decode"):
        pictures = [(name, picture() if callable(picture) else picture) for name, picture in batch]
    with timing.of("prepare"):
        prepared = preparing(pictures)
    return MadeReady(prepared, timing.seconds["decode"], timing.seconds["prepare"])
