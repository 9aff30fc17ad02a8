"""One pass of pictures through tower and connector, for all that want them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from connector_bench.connectors import capture
from connector_bench.connectors.base import ConnectorAdapter
from connector_bench.pictures import PictureReader
from connector_bench.processes import error_text, gather_all, on_every_rank, rank_and_size, unbroken
from connector_bench.run.all_ranks import AllRanksImages
from connector_bench.run.documents import first_of
from connector_bench.timing import Timing

if TYPE_CHECKING:
    from PIL.Image import Image
    from tqdm import tqdm

    from connector_bench.types import TokenBatch
    from connector_bench.workers.crew import Crew


@dataclass(frozen=True)
class Consumer:
    """What wants a picture's tokens; one object for all pictures for which it is the same."""

    owner: str
    """Task or training that fails when `take` raises."""
    take: Callable[[TokenBatch], None]
    wants_untrained: bool = True
    """Whether it wants what untrained copies of the connector make of this picture as well."""


@dataclass(frozen=True)
class Passed:
    """What is noted of every image that has passed the model."""

    encoder_norm: float
    n_pre: int
    n_post: int

    @classmethod
    def of(cls, batch: TokenBatch) -> dict[str, Passed]:
        """Of every image of a batch."""
        norms = batch.encoder_norms.tolist()
        each = zip(batch.images, norms, batch.layouts, strict=True)
        return {name: cls(norm, layout.n_pre, layout.n_post) for name, norm, layout in each}


@dataclass
class PassOutcome:
    """What came of a pass on all ranks."""

    passed: dict[str, Passed] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Images that gave no tokens that could be measured, each with the reason."""
    not_finite: dict[str, str] = field(default_factory=dict)
    """Those of them whose tokens held NaN or infinity."""
    files: dict[str, str] = field(default_factory=dict)
    """Names of refused images' files, where there are any."""
    failed: dict[str, str] = field(default_factory=dict)
    """Owners whose consumer raised, each with the error."""

    def absorb(self, other: PassOutcome) -> None:
        """Add another rank's part."""
        self.passed |= other.passed
        self.refused |= other.refused
        self.not_finite |= other.not_finite
        self.files |= other.files
        self.failed = other.failed | self.failed


Consumers = Mapping[str, Sequence[Consumer]]
"""By image."""


@dataclass(frozen=True)
class Way:
    """What every pass of a run shares."""

    adapter: ConnectorAdapter
    reader: PictureReader
    batch_size: capture.BatchSize
    timing: Timing
    crew: Crew | None = None
    """Worker processes that decode and prepare; None where threads do."""


def one_pass(way: Way, everywhere: AllRanksImages, consumers: Consumers, title: str) -> PassOutcome:
    """Every rank's own pictures through the model, once each; the outcome of all ranks, on every rank.

    Raises what the model raises for ordinary pictures, and ValueError where too many pictures give NaN or infinity.
    """
    images = {image for shown in everywhere.image_of.values() for image in shown.values()}
    part = on_every_rank(lambda: _OwnPart(way, everywhere, consumers, title, len(images)).run())
    way.reader.forget(images)
    outcome = PassOutcome()
    for other in gather_all(part):
        outcome.absorb(other)
    capture.refuse_not_finite(outcome.not_finite, len(images))
    return outcome


@dataclass
class _OwnPart:
    """This rank's part of a pass."""

    way: Way
    everywhere: AllRanksImages
    consumers: Consumers
    title: str
    images: int
    """Of all ranks."""
    outcome: PassOutcome = field(default_factory=PassOutcome)
    left_out: capture.LeftOut = field(default_factory=capture.LeftOut)

    def run(self) -> PassOutcome:
        outcome, left_out = self.outcome, self.left_out
        names = [name for name in self.everywhere.mine if name in self.consumers]
        lanes = (
            [name for name in names if self._copies(name)],
            [name for name in names if not self._copies(name)],
        )
        with self._bar(len(names)) as bar:
            for lane, untrained in zip(lanes, (True, False), strict=True):
                with closing(self._tokens(lane, untrained)) as batches:
                    for batch in batches:
                        outcome.passed |= Passed.of(batch)
                        self._hand_out(batch)
                        bar.update(len(batch))
                        del batch
            bar.update(len(names) - bar.n)
        outcome.not_finite |= left_out.not_finite
        outcome.refused |= left_out.refused | left_out.not_finite
        files = {image: self.everywhere.mine[image].file_name() for image in outcome.refused}
        outcome.files = {image: file for image, file in files.items() if file is not None}
        return outcome

    def _tokens(self, names: Sequence[str], untrained: bool) -> Generator[TokenBatch, None, None]:
        way, left_out = self.way, self.left_out
        return capture.stream(
            way.adapter,
            self._pictures(names),
            way.batch_size,
            left_out,
            untrained=untrained,
            timing=way.timing,
            crew=way.crew,
        )

    def _copies(self, image: str) -> bool:
        return any(consumer.wants_untrained for consumer in self.consumers[image])

    def _hand_out(self, batch: TokenBatch) -> None:
        """Every consumer its images of the batch, all at once."""
        positions: dict[Consumer, list[int]] = {}
        for position, image in enumerate(batch.images):
            for consumer in self._wanting(image):
                positions.setdefault(consumer, []).append(position)
        for consumer, wanted in positions.items():
            offered = batch if consumer.wants_untrained else replace(batch, untrained=())
            part = offered.take(wanted)
            try:
                with self.way.timing.of(f"statistics of {consumer.owner}"), unbroken():
                    consumer.take(part)
            except Exception as error:
                self.outcome.failed[consumer.owner] = error_text(error)

    def _wanting(self, image: str) -> list[Consumer]:
        return [one for one in self.consumers.get(image, ()) if one.owner not in self.outcome.failed]

    def _bar(self, total: int) -> tqdm[Any]:
        from tqdm import tqdm

        rank, _ = rank_and_size()
        return tqdm(total=total, desc=self.title, unit="image", disable=rank != 0)

    def _pictures(self, names: Sequence[str]) -> Iterator[tuple[str, Callable[[], Image]]]:
        for name in names:
            capture.refuse_not_finite(self.left_out.not_finite, self.images)
            if self._wanting(name):
                elsewhere = self.way.crew is not None and self.way.crew.alive
                shown = self.everywhere.mine[name].shown
                yield name, partial(first_of, shown) if elsewhere else partial(self._picture, name)

    def _picture(self, name: str) -> Image:
        """As it was kept, or decoded once more; called by worker threads."""
        kept = self.way.reader.take(name)
        return self.everywhere.mine[name].load() if kept is None else kept
