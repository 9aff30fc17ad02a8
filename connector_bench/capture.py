"""Images to a stream of token pairs, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from connector_bench.connectors.base import ConnectorAdapter
from connector_bench.types import TokenPair

if TYPE_CHECKING:
    from PIL.Image import Image


def stream(
    adapter: ConnectorAdapter, images: Iterable[tuple[str, Image]], batch_size: int = 8
) -> Iterator[tuple[str, TokenPair]]:
    """Pairs of tokens for pictures that are read as they are needed.

    Args:
        adapter: the model's adapter.
        images: identifier and RGB picture, in any number; a generator is consumed one batch at a time.
        batch_size: pictures that pass the model together, at least 1.

    Yields:
        Identifier and pair, in the order of `images`. No more than one batch is held at a time.

    Raises:
        ValueError: the batch size is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    waiting = iter(images)
    while batch := list(islice(waiting, batch_size)):
        pairs = adapter.capture([image for _, image in batch])
        names = [name for name, _ in batch]
        del batch
        while pairs:
            yield names.pop(0), pairs.pop(0)
