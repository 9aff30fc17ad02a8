"""One pass of pictures through tower and connector, for all that want them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connector_bench.connectors import capture
from connector_bench.connectors.base import ConnectorAdapter
from connector_bench.pictures import reason
from connector_bench.processes import error_text, gather_all, on_every_rank, rank_and_size, unbroken
from connector_bench.run.documents import AllRanksImages

if TYPE_CHECKING:
    from PIL.Image import Image

    from connector_bench.types import TokenPair


@dataclass(frozen=True)
class Consumer:
    """What wants a picture's tokens."""

    owner: str
    """Task or training that fails when `take` raises."""
    take: Callable[[str, TokenPair], None]


@dataclass(frozen=True)
class Passed:
    """What is noted of every image that has passed the model."""

    encoder_norm: float
    n_pre: int
    n_post: int

    @classmethod
    def of(cls, pair: TokenPair) -> Passed:
        """Of one image's tokens."""
        return cls(pair.encoder_norm, pair.layout.n_pre, pair.layout.n_post)


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


def one_pass(
    adapter: ConnectorAdapter, everywhere: AllRanksImages, consumers: Consumers, batch_size: int, title: str
) -> PassOutcome:
    """Every rank's own pictures through the model, once each; the outcome of all ranks, on every rank.

    Raises what the model raises for ordinary pictures, and ValueError where too many pictures give NaN or infinity.
    """
    images = {image for shown in everywhere.image_of.values() for image in shown.values()}
    part = on_every_rank(
        lambda: _OwnPart(adapter, everywhere, consumers, batch_size, title, len(images)).run()
    )
    outcome = PassOutcome()
    for other in gather_all(part):
        outcome.absorb(other)
    capture.refuse_not_finite(outcome.not_finite, len(images))
    return outcome


@dataclass
class _OwnPart:
    """This rank's part of a pass."""

    adapter: ConnectorAdapter
    everywhere: AllRanksImages
    consumers: Consumers
    batch_size: int
    title: str
    images: int
    """Of all ranks."""
    outcome: PassOutcome = field(default_factory=PassOutcome)
    left_out: capture.LeftOut = field(default_factory=capture.LeftOut)

    def run(self) -> PassOutcome:
        outcome, left_out = self.outcome, self.left_out
        for image, pair in capture.stream(self.adapter, self._pictures(), self.batch_size, left_out):
            outcome.passed[image] = Passed.of(pair)
            for consumer in self._wanting(image):
                try:
                    with unbroken():
                        consumer.take(image, pair)
                except Exception as error:
                    outcome.failed[consumer.owner] = error_text(error)
        outcome.not_finite |= left_out.not_finite
        outcome.refused |= left_out.refused | left_out.not_finite
        files = {image: self.everywhere.mine[image].file_name() for image in outcome.refused}
        outcome.files = {image: file for image, file in files.items() if file is not None}
        return outcome

    def _wanting(self, image: str) -> list[Consumer]:
        return [one for one in self.consumers.get(image, ()) if one.owner not in self.outcome.failed]

    def _pictures(self) -> Iterator[tuple[str, Image]]:
        from tqdm import tqdm

        rank, _ = rank_and_size()
        names = [name for name in self.everywhere.mine if name in self.consumers]
        for name in tqdm(names, desc=self.title, unit="image", disable=rank != 0):
            capture.refuse_not_finite(self.left_out.not_finite, self.images)
            if not self._wanting(name):
                continue
            try:
                picture = self.everywhere.mine[name].load()
            except Exception as error:  # it could be read a moment ago
                self.outcome.refused[name] = reason(error)
                continue
            yield name, picture
