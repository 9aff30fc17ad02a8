"""Changes of one picture's tokens: tokens and their positions in the picture in, tokens out.

A change is made row by row, so that it is the same whether a model hands a picture's tokens over at once or in parts.
It is computed in float64 and rounded to the tokens' own precision once; where it changes nothing, no bit changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Change = Callable[[Tensor, Tensor], Tensor]
"""From some of a picture's tokens `[n, d]` and their positions in it `[n]` to as many others."""


@dataclass(frozen=True, eq=False)
class Masked:
    """Some of the tokens replaced by one vector."""

    hidden: Bool[Tensor, " tokens"]
    fill: Float[Tensor, " d"]

    def __call__(self, tokens: Float[Tensor, "n d"], positions: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """The tokens, the vector where they are hidden."""
        hidden = self.hidden[positions].to(tokens.device)
        return torch.where(hidden[:, None], self.fill.to(tokens), tokens)


@dataclass(frozen=True, eq=False)
class Noisy:
    """Something added to every token."""

    noise: Float[Tensor, "tokens d"]

    def __call__(self, tokens: Float[Tensor, "n d"], positions: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Their sum."""
        return (tokens.double() + self.noise[positions].to(tokens.device)).to(tokens.dtype)


@dataclass(frozen=True, eq=False)
class Projected:
    """What lies in some directions taken off, but for the mean's part in them."""

    mean: Float[Tensor, " d"]
    dropped: Float[Tensor, "d k"]
    """Orthonormal columns."""

    def __call__(self, tokens: Float[Tensor, "n d"], positions: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """The rest."""
        mean, dropped = self.mean.to(tokens.device), self.dropped.to(tokens.device)
        own = tokens.double()
        return (own - (own - mean) @ dropped @ dropped.T).to(tokens.dtype)


@dataclass(frozen=True, eq=False)
class Reordered:
    """The tokens of the picture in another order."""

    order: Int[Tensor, " tokens"]
    known: Float[Tensor, "tokens d"]
    """All of them, for a model that hands them over in parts."""

    def __call__(self, tokens: Float[Tensor, "n d"], positions: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """At each position the token that has moved there."""
        whole = tokens if len(positions) == len(self.order) else self.known.to(tokens)
        return whole[self.order[positions].to(tokens.device)]


@dataclass(frozen=True, eq=False)
class Replaced:
    """Other tokens in their place."""

    values: Float[Tensor, "tokens d"]

    def __call__(self, tokens: Float[Tensor, "n d"], positions: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Those of the same positions."""
        return self.values[positions].to(tokens)


def random_of(seed: int, picture: str) -> torch.Generator:
    """Random numbers that depend on seed and picture alone: not on order, batch, process or device."""
    digest = hashlib.sha256(f"{seed} {picture}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def random_order(tokens: int, random: torch.Generator) -> Int[Tensor, " tokens"]:
    """All positions in a random order."""
    return torch.randperm(tokens, generator=random)


def hidden_tokens(
    share: float,
    order: Int[Tensor, " tokens"],
    loss: Float[Tensor, " tokens"] | None,
    *,
    falling: bool = True,
) -> Bool[Tensor, " tokens"]:
    """Which tokens a mask hides: the first `share` of them, rounded to a whole number, half up.

    Parameters
    ----------
    share : from 0 to 1
    order : a random order, in which tokens of equal loss come; masks of one order lie within each other
    loss : by token; None for the random order itself
    falling : whether the most lossy tokens come first
    """
    if loss is not None:
        ranked = torch.sort(loss[order], stable=True, descending=falling).indices
        order = order[ranked]
    hidden = torch.zeros(len(order), dtype=torch.bool)
    hidden[order[: int(share * len(order) + 0.5)]] = True
    return hidden


def stretched(tokens: Float[Tensor, "m d"], count: int) -> Float[Tensor, "count d"]:
    """So many tokens out of another number of them, evenly spread; the same where the number is."""
    return tokens[torch.arange(count, device=tokens.device) * len(tokens) // count]
