"""Images to a stream of token batches, in constant memory; a picture that gives none does not cost the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from connector_bench.connectors.base import ConnectorAdapter
from connector_bench.pictures import reason
from connector_bench.types import TokenBatch

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
    *,
    untrained: bool = True,
) -> Iterator[TokenBatch]:
    """Tokens of pictures that are read as they are needed, batch by batch, on the model's device.

    Args:
        adapter: the model's adapter.
        images: identifier and RGB picture, in any number; a generator is consumed one batch at a time.
        batch_size: pictures that pass the model together, at least 1.
        left_out: takes the pictures that give no tokens, or tokens that are not finite; a batch that fails is tried
            again picture by picture. Without it what the model raises is raised.
        untrained: whether the connector's untrained copies run beside it, where there are any.

    Yields:
        Batches in the order of `images`, without those that are left out; none is empty. No more than one is held at
        a time.

    Raises:
        ValueError: the batch size is below 1.
        Exception: with `left_out`, what the model raises where an ordinary picture fails as well, or where memory is
            short for a single picture.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    waiting = iter(images)
    while batch := list(islice(waiting, batch_size)):
        run = partial(_together, adapter, untrained=untrained)
        tokens = run(batch) if left_out is None else _bearing(run, batch, left_out)
        del batch
        if tokens is not None and len(tokens):
            yield tokens
        del tokens


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


def _together(adapter: ConnectorAdapter, batch: Batch, untrained: bool) -> TokenBatch:
    return adapter.run(adapter.prepare(batch), untrained=untrained)


def _bearing(run: Callable[[Batch], TokenBatch], batch: Batch, left_out: LeftOut) -> TokenBatch | None:
    """Tokens of those of a batch that are not left out; None where all are."""
    tokens: TokenBatch | None = None
    with suppress(Exception):  # tried again below, where the failed batch's tensors are gone
        tokens = run(batch)
    if tokens is None:
        found = [one for picture in batch if (one := _alone(run, picture, left_out)) is not None]
        if not found:
            return None
        tokens = TokenBatch.end_to_end(found)
    if (side := _not_finite_side(tokens)) is None:
        return tokens
    kept = []
    for position, name in enumerate(tokens.images):
        side = _not_finite_side(tokens.take([position]))
        if side is None:
            kept.append(position)
        else:
            left_out.not_finite[name] = f"features of image {name[:12]} at {side} hold NaN or infinity"
    return tokens.take(kept)


def _alone(
    run: Callable[[Batch], TokenBatch], picture: tuple[str, Image], left_out: LeftOut
) -> TokenBatch | None:
    from connector_bench.connectors.coloured import coloured_picture

    try:
        return run([picture])
    except Exception as error:
        if _out_of_memory(error):
            raise
        failure = error
    try:
        run([("an ordinary picture", coloured_picture(224, 224))])
    except Exception:
        raise failure from None
    left_out.refused[picture[0]] = reason(failure)
    return None


def _out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "not enough memory" in str(error)


def _not_finite_side(batch: TokenBatch) -> str | None:
    """The side of the connector whose tokens hold NaN or infinity; the device is asked once."""
    import torch

    sides = [("pre (the connector's input)", batch.pre), ("post (the connector's output)", batch.post)]
    if batch.pre_normed is not None:
        sides.append(("the connector's leading norm", batch.pre_normed))
    sides += [("an untrained copy's output", tokens) for tokens in batch.untrained]
    finite = torch.stack([tokens.isfinite().all() for _, tokens in sides]).tolist()
    return next((side for (side, _), good in zip(sides, finite, strict=True) if not good), None)
