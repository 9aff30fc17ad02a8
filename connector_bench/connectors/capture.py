"""Images to a stream of token batches, in constant memory; a picture that gives none does not cost the others."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from loguru import logger

from connector_bench.connectors.base import ConnectorAdapter, Prepared
from connector_bench.connectors.launching import Launched, rejoin, settle
from connector_bench.connectors.ready import Batch, LeftOut, Picture, Ready, Readying
from connector_bench.not_finite import POST, PRE, PRE_NORMED, UNTRAINED, not_finite
from connector_bench.pictures import reason
from connector_bench.timing import Timing
from connector_bench.types import TokenBatch
from connector_bench.workers import no_release

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from connector_bench.workers.crew import Crew

NOT_FINITE_SHARE, NOT_FINITE_AT_LEAST = 0.05, 5
"""A run is refused when more than this share of its pictures, and more than so many, give NaN or infinity."""


@dataclass
class BatchSize:
    """How many pictures pass the model together; it stays halved once memory has run out."""

    now: int

    def __post_init__(self) -> None:
        if self.now < 1:
            raise ValueError(f"batch_size is {self.now}; it must be at least 1")

    def halve(self, failed: int) -> None:
        """So many together were too many."""
        self.now = min(self.now, max(1, failed // 2))
        logger.warning(
            f"memory ran out with {failed} pictures together; from here on {self.now} pass at a time"
        )


def stream(
    adapter: ConnectorAdapter,
    images: Iterable[tuple[str, Picture]],
    batch_size: int | BatchSize = 8,
    left_out: LeftOut | None = None,
    *,
    untrained: bool = True,
    timing: Timing | None = None,
    crew: Crew | None = None,
) -> Generator[TokenBatch, None, None]:
    """Tokens of pictures, batch by batch, on the model's device; worker threads decode and prepare them ahead.

    The model is given a batch before the one ahead of it is handed out. On a graphics card, what is done with a batch
    until the next is asked for runs beside the model. Order and number of workers change no token.

    Args:
        adapter: the model's adapter.
        images: identifier and RGB picture, or what gives it, which worker threads then call; in any number. A
            generator is read at most `worker_count() + 2` batches ahead, the one that is handed out among them.
        batch_size: pictures that pass the model together, at least 1; half as many once memory has run out.
        left_out: takes the pictures that cannot be had, give no tokens, or give tokens that are not finite; a batch
            that fails is tried again picture by picture. Without it what they raise is raised.
        untrained: whether the connector's untrained copies run beside it, where there are any.
        timing: takes the seconds of decoding, preparing, and of tower and connector.
        crew: worker processes that decode and prepare in place of threads, given the adapter's `preparer`; what a
            picture refuses there it is asked once more here.

    Yields:
        Batches in the order of `images`, without those that are left out; none is empty.

    Raises:
        ValueError: the batch size is below 1.
        Exception: with `left_out`, what the model raises where an ordinary picture fails as well, or where memory is
            short for a single picture.
    """
    sizes = BatchSize(batch_size) if isinstance(batch_size, int) else batch_size
    readying = Readying(adapter, left_out, timing or Timing(), crew)
    yield from _Stream(adapter, sizes, readying, untrained).over(images)


def refuse_not_finite(not_finite: Mapping[str, str], pictures: int) -> None:
    """ValueError where so many of the pictures gave NaN or infinity that the model's figures mean nothing."""
    bad = len(not_finite)
    if bad and (bad >= pictures or bad > most_not_finite(pictures)):
        raise ValueError(
            f"{bad} of {pictures} pictures give no finite tokens, and {most_not_finite(pictures)} may be left out: "
            f"{next(iter(not_finite.values()))}"
        )


def most_not_finite(pictures: int) -> int:
    """Of so many pictures, how many may give NaN or infinity and be left out."""
    return max(NOT_FINITE_AT_LEAST, int(NOT_FINITE_SHARE * pictures))


@dataclass(frozen=True)
class _Stream:
    adapter: ConnectorAdapter
    sizes: BatchSize
    readying: Readying
    untrained: bool

    @property
    def left_out(self) -> LeftOut | None:
        return self.readying.left_out

    def over(self, images: Iterable[tuple[str, Picture]]) -> Iterator[TokenBatch]:
        held: Launched | None = None
        release = taken = no_release
        try:
            with closing(self.readying.ahead(self._batches(images))) as ahead:
                for ready in ahead:
                    taken = ready.release
                    launched = self._first_try(ready)
                    batch = ready.batch
                    del ready
                    if held is not None:
                        yield from self._handed_out(held, release)
                    held, release = launched, taken
                    if launched is None:
                        settle(self.adapter.device)
                        taken()
                        yield from self._again(batch)
                    del launched
                if held is not None:
                    yield from self._handed_out(held, release)
        finally:
            rejoin(self.adapter.device)
            if taken is not no_release:
                settle(self.adapter.device)
                release()
                taken()

    def _batches(self, images: Iterable[tuple[str, Picture]]) -> Iterator[Batch]:
        waiting = iter(images)
        while batch := list(islice(waiting, self.sizes.now)):
            yield batch

    def _launched(self, pictures: Sequence[tuple[str, Image]], prepared: Prepared | None = None) -> Launched:
        ready = self.readying.prepared(pictures) if prepared is None else prepared
        return Launched.of(lambda: self.adapter.run(ready, untrained=self.untrained), self.adapter.device)

    def _first_try(self, ready: Ready) -> Launched | None:
        """The batch as a whole; None where it has to be tried in parts, or holds no picture."""
        size = ready.size
        if ready.failed or not 0 < size <= self.sizes.now:
            return None
        try:
            return self._launched(ready.pictures, ready.prepared)
        except Exception as error:
            if self._is_final(error, size):
                raise
        return None

    def _is_final(self, error: Exception, size: int) -> bool:
        """Whether nothing else is to be tried after this; memory that ran out halves the batches."""
        if not out_of_memory(error):
            return self.left_out is None
        if size > 1:
            self.sizes.halve(size)
        return size == 1

    def _again(self, batch: Batch) -> Iterator[TokenBatch]:
        """A batch that failed: in smaller ones where memory ran out, else picture by picture."""
        size = self.sizes.now if len(batch) > self.sizes.now else 1
        rest = list(batch)
        while rest:
            part, rest = rest[:size], rest[size:]
            known = set() if self.left_out is None else self.left_out.refused.keys()
            pictures = self.readying.decoded([one for one in part if one[0] not in known])
            if not pictures:
                continue
            alone = len(pictures) == 1
            launched = self._alone(pictures[0]) if alone else self._first_try(Ready(part, pictures))
            del pictures
            if launched is not None:
                yield from self._handed_out(launched)
            elif len(part) > 1:
                yield from self._again(part)

    def _alone(self, picture: tuple[str, Image]) -> Launched | None:
        from connector_bench.connectors.coloured import coloured_picture

        try:
            return self._launched([picture])
        except Exception as error:
            if self.left_out is None or out_of_memory(error):
                raise
            failure = error
        try:
            self._launched([("an ordinary picture", coloured_picture(224, 224))])
        except Exception:
            raise failure from failure.__cause__
        self.left_out.refused[picture[0]] = reason(failure)
        return None

    def _handed_out(
        self, launched: Launched, release: Callable[[], None] = no_release
    ) -> Iterator[TokenBatch]:
        with launched.beside_the_next():
            tokens: TokenBatch | None = launched.tokens
            if self.left_out is not None:
                tokens = _finite_part(launched.tokens, self.left_out)
            self.readying.timing.add("tower and connector", launched.took())
            if release is not no_release:
                if not launched.followed:
                    settle(self.adapter.device)
                release()
            del launched
            if tokens is not None:
                yield tokens


def _finite_part(tokens: TokenBatch, left_out: LeftOut) -> TokenBatch | None:
    """The images of a batch whose tokens are finite; None where there is none."""
    if _not_finite_side(tokens) is None:
        return tokens
    kept = []
    for position, name in enumerate(tokens.images):
        found = _not_finite_side(tokens.take([position]))
        if found is None:
            kept.append(position)
        else:
            left_out.not_finite[name] = not_finite(name, *found)
    return tokens.take(kept) if kept else None


def out_of_memory(error: Exception) -> bool:
    """Whether the device or the host had no memory left."""
    import torch

    said = ("not enough memory", "out of memory", "can't allocate memory", "STATUS_ALLOC_FAILED")
    kinds = (torch.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or any(words in str(error) for words in said)


def _not_finite_side(batch: TokenBatch) -> tuple[str, torch.dtype] | None:
    """The side of the connector whose tokens hold NaN or infinity, and their precision; the device is asked once."""
    import torch

    names = [PRE, POST, *([] if batch.pre_normed is None else [PRE_NORMED])]
    names += [UNTRAINED] * len(batch.untrained)
    finite = {
        number: torch.stack(side.aminmax()).isfinite().all()
        for number, side in enumerate(batch.sides)
        if side.numel()
    }
    if len({side.device for side in finite.values()}) > 1:  # a model that is spread over devices
        finite = {number: side.cpu() for number, side in finite.items()}
    good = torch.stack(list(finite.values())).tolist() if finite else []
    bad = (number for number, one in zip(finite, good, strict=True) if not one)
    return next(((names[number], batch.sides[number].dtype) for number in bad), None)
