"""Tokens of the training scenes, kept small until all have passed, and the coordinates that readers see them in.

Kept is bfloat16, of at most `KEPT` numbers a token: wider tokens are projected by a random orthonormal map that depends
on the widths alone, so that every process keeps the same numbers before anything is known of the data. A random
map to m numbers holds what the best map to m / 2 holds, within a factor of two of its residual (Halko, Martinsson and
Tropp 2011, theorem 10.5).

Readers see principal coordinates, their signs fixed by their skewness, so that two sides that differ by a rotation,
a shift or a scale are the same numbers. A coordinate's deviation is the root of what it was, halfway between the tokens
as they are, whose first directions hide the others from a training, and whitened ones, whose last directions are noise.
Directions of less than `FLAT` of the largest variance are rounding and are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

KEPT = 512
"""Numbers of a token that are kept at most."""
FLAT = 1e-6
"""Share of the largest variance below which a direction holds rounding alone."""
PIECE = 16_384
"""Rows that are multiplied together."""
SEED = 20_260


def kept_tokens(tokens: Float[Tensor, "rows d"]) -> Float[Tensor, "rows m"]:
    """As they are kept: projected where they are wider than `KEPT`, in bfloat16, on their device.

    ValueError where a number is beyond the range of bfloat16.
    """
    width = tokens.shape[1]
    if width > KEPT:
        tokens = tokens.float() @ _projection(width, tokens.device)
    kept = tokens.to(torch.bfloat16)
    if not torch.isfinite(kept).all():
        raise ValueError("tokens are not finite")
    return kept


@cache
def _projection(width: int, device: torch.device) -> Float[Tensor, "d m"]:
    if device.type == "cpu":
        generator = torch.Generator().manual_seed(SEED + width)
        drawn = torch.randn(width, KEPT, generator=generator, dtype=torch.float64)
        return torch.linalg.qr(drawn)[0].float()
    return _projection(width, torch.device("cpu")).to(device)


@dataclass(frozen=True, eq=False)
class Coordinates:
    """A map from kept tokens to what readers see."""

    mean: Float[Tensor, " m"]
    axes: Float[Tensor, "m r"]
    """Principal directions, the largest first, over the roots of their deviations."""

    @classmethod
    def of(cls, images: Sequence[Float[Tensor, "n m"]]) -> Coordinates:
        """Of these images' tokens, in float64 where they lie. ValueError where no direction varies."""
        count = sum(len(image) for image in images)
        mean = sum((piece.sum(0) for piece in _pieces(images)), torch.zeros(())) / count
        scatter = sum(((piece - mean).T @ (piece - mean) for piece in _pieces(images)), torch.zeros(()))
        variances, axes = torch.linalg.eigh(scatter / max(count - 1, 1))
        variances, axes = variances.flip(0), axes.flip(1)
        kept = variances > FLAT * variances[0]
        if not kept.any():
            raise ValueError("all tokens of the training images are the same: there is nothing to read")
        axes, deviations = axes[:, kept], variances[kept].sqrt()
        skew = sum((((piece - mean) @ axes) ** 3).sum(0) for piece in _pieces(images))
        signs = torch.where(skew < 0, -1.0, 1.0)
        return cls(mean.float(), (axes * signs / (deviations * deviations.mean()).sqrt()).float())

    @property
    def width(self) -> int:
        """How many coordinates."""
        return self.axes.shape[1]

    def __call__(self, tokens: Float[Tensor, "rows m"]) -> Float[Tensor, "rows r"]:
        """The coordinates of kept tokens, in bfloat16."""
        return ((tokens.float() - self.mean) @ self.axes).to(torch.bfloat16)

    def to(self, device: torch.device) -> Coordinates:
        """The same on a device."""
        return Coordinates(self.mean.to(device), self.axes.to(device))


def _pieces(images: Sequence[Tensor]) -> Iterable[Float[Tensor, "p m"]]:
    """All tokens in float64, some at a time, the same however images were batched."""
    held: list[Tensor] = []
    rows = 0
    for image in images:
        held.append(image)
        rows += len(image)
        if rows >= PIECE:
            yield torch.cat(held).double()
            held, rows = [], 0
    if held:
        yield torch.cat(held).double()


@dataclass(frozen=True, eq=False)
class PaddedTokens:
    """Images' tokens as one block."""

    tokens: Float[Tensor, "b most r"]
    there: Bool[Tensor, "b most"] | None
    """None where all images have as many."""

    @classmethod
    def of(cls, images: Sequence[Float[Tensor, "n r"]]) -> PaddedTokens:
        """At least one image."""
        counts = torch.tensor([len(image) for image in images], device=images[0].device)
        block = pad_sequence(list(images), batch_first=True)
        if bool((counts == block.shape[1]).all()):
            return cls(block, None)
        return cls(block, torch.arange(block.shape[1], device=counts.device) < counts[:, None])

    def take(self, rows: Tensor) -> PaddedTokens:
        """Some of the images, their tokens in float32."""
        return PaddedTokens(self.tokens[rows].float(), None if self.there is None else self.there[rows])
