"""Images to a stream of token pairs, in constant memory; a picture that gives none does not cost the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from connector_bench.connectors.base import ConnectorAdapter
from connector_bench.pictures import reason
from connector_bench.types import TokenPair

if TYPE_CHECKING:
    from PIL.Image import Image

NOT_FINITE_SHARE, NOT_FINITE_AT_LEAST = 0.05, 5
"""A run is refused when more than this share of its pictures, and more than so many, give NaN or infinity."""


@dataclass
class LeftOut:
    """Pictures of a stream that gave no tokens that could be measured, each with the reason."""

    refused: dict[str, str] = field(default_factory=dict)
    """By the wrapper's preparation, the processor or the model, which takes an ordinary picture."""
    not_finite: dict[str, str] = field(default_factory=dict)
    """Their tokens hold NaN or infinity."""


def stream(
    adapter: ConnectorAdapter,
    images: Iterable[tuple[str, Image]],
    batch_size: int = 8,
    left_out: LeftOut | None = None,
) -> Iterator[tuple[str, TokenPair]]:
    """Pairs of tokens for pictures that are read as they are needed.

    Args:
        adapter: the model's adapter.
        images: identifier and RGB picture, in any number; a generator is consumed one batch at a time.
        batch_size: pictures that pass the model together, at least 1.
        left_out: takes the pictures that give no tokens, or tokens that are not finite; a batch that fails is tried
            again picture by picture. Without it what the model raises is raised.

    Yields:
        Identifier and pair, in the order of `images`. No more than one batch is held at a time.

    Raises:
        ValueError: the batch size is below 1.
        Exception: with `left_out`, what the model raises where an ordinary picture fails as well, or where memory is
            short for a single picture.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    waiting = iter(images)
    while batch := list(islice(waiting, batch_size)):
        pairs = _together(adapter, batch) if left_out is None else _bearing(adapter, batch, left_out)
        names = [name for name, _ in batch]
        del batch
        while pairs:
            name, pair = names.pop(0), pairs.pop(0)
            if pair is not None:
                yield name, pair


def refuse_not_finite(not_finite: Mapping[str, str], pictures: int) -> None:
    """ValueError where so many of the pictures gave NaN or infinity that the model's figures mean nothing."""
    bad = len(not_finite)
    if bad and (bad >= pictures or bad > most_not_finite(pictures)):
        raise ValueError(
            f"{bad} of {pictures} pictures give no finite tokens, and {most_not_finite(pictures)} may be left out: "
            f"{next(iter(not_finite.values()))}; half precision may have overflowed: load the model in float32 or "
            "bfloat16"
        )


def most_not_finite(pictures: int) -> int:
    """Of so many pictures, how many may give NaN or infinity and be left out."""
    return max(NOT_FINITE_AT_LEAST, int(NOT_FINITE_SHARE * pictures))


Batch = Sequence[tuple[str, "Image"]]


def _together(adapter: ConnectorAdapter, batch: Batch) -> list[TokenPair | None]:
    return list(adapter.capture([image for _, image in batch]))


def _bearing(adapter: ConnectorAdapter, batch: Batch, left_out: LeftOut) -> list[TokenPair | None]:
    """Pairs of a batch, None for what is left out."""
    try:
        pairs = _together(adapter, batch)
    except Exception:
        pairs = []  # tried again below, where the failed batch's tensors are gone
    if not pairs:
        pairs = [_alone(adapter, name, image, left_out) for name, image in batch]
    for position, ((name, _), pair) in enumerate(zip(batch, pairs, strict=True)):
        side = None if pair is None else _not_finite_side(pair)
        if side is not None:
            left_out.not_finite[name] = f"features of image {name[:12]} at {side} hold NaN or infinity"
            pairs[position] = None
    return pairs


def _alone(adapter: ConnectorAdapter, name: str, image: Image, left_out: LeftOut) -> TokenPair | None:
    from connector_bench.connectors.coloured import coloured_picture

    try:
        return adapter.capture([image])[0]
    except Exception as error:
        if _out_of_memory(error):
            raise
        failure = error
    try:
        adapter.capture([coloured_picture(224, 224)])
    except Exception:
        raise failure from None
    left_out.refused[name] = reason(failure)
    return None


def _out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "not enough memory" in str(error)


def _not_finite_side(pair: TokenPair) -> str | None:
    """The side of the connector whose tokens hold NaN or infinity."""
    sides = [("pre (the connector's input)", pair.pre), ("post (the connector's output)", pair.post)]
    if pair.pre_normed is not None:
        sides.append(("the connector's leading norm", pair.pre_normed))
    sides += [("an untrained copy's output", tokens) for tokens in pair.untrained]
    return next((side for side, tokens in sides if not tokens.isfinite().all()), None)
