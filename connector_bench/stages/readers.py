"""The readers: a question and an image's tokens in, a score for every answer out.

`AttentionReader` is the one whose figures count: the question's embedding asks, in two cross-attention layers, tokens
that carry a learned vector for their place. `LinearReader` stands beside it: its scores are linear in the tokens, by
coefficients that the question chooses. Answers share their embeddings with the words of questions.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

PLACE_SCALE, WORD_SCALE = 0.3, 0.1
"""Sizes of the embeddings at the start."""
FIRST_ANSWER = 2
"""Token of the first answer: behind padding and what is not known."""


@dataclass(frozen=True)
class ReaderShape:
    """Everything that decides a reader's function besides its weights."""

    d_in: int
    places: int
    """Most tokens of an image."""
    words: int
    answers: int
    width: int = 128
    heads: int = 8
    layers: int = 2

    def __post_init__(self) -> None:
        if self.width % self.heads or min(self.d_in, self.places, self.answers, self.layers) < 1:
            raise ValueError(f"width must be a multiple of heads and all sizes positive, got {self}")

    def as_json(self) -> dict[str, int]:
        """The sizes by name."""
        return asdict(self)


class _Words(nn.Module):
    """Embeddings of the words of questions, and scores of answers by the same embeddings."""

    def __init__(self, shape: ReaderShape) -> None:
        super().__init__()
        self.words = nn.Embedding(shape.words, shape.width, padding_idx=0)
        nn.init.normal_(self.words.weight, std=WORD_SCALE)
        self.answers = slice(FIRST_ANSWER, FIRST_ANSWER + shape.answers)
        self.bias = nn.Parameter(torch.zeros(shape.answers))

    def asked(self, questions: Int[Tensor, "b q l"]) -> Float[Tensor, "b q w"]:
        """Sum of the words: their order does not matter."""
        return (self.words(questions) * (questions != 0)[..., None]).sum(2)

    def scored(self, states: Float[Tensor, "b q w"]) -> Float[Tensor, "b q a"]:
        """Of every answer."""
        return F.linear(states, self.words.weight[self.answers], self.bias)


class _ReadingLayer(nn.Module):
    """Each question reads the image's tokens, then an MLP; both residual, pre-norm."""

    def __init__(self, shape: ReaderShape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.norm_question, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.merge = nn.Linear(width, width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(
        self, states: Tensor, keys: Tensor, values: Tensor, there: Bool[Tensor, "b 1 1 n"] | None
    ) -> Tensor:
        query = by_head(self.query(self.norm_question(states)), self.heads)
        read = F.scaled_dot_product_attention(query, keys, values, attn_mask=there)
        states = states + self.merge(read.transpose(1, 2).flatten(2))
        fed: Tensor = self.feed(self.norm_feed(states))
        return states + fed


def by_head(tokens: Float[Tensor, "b n w"], heads: int) -> Float[Tensor, "b h n e"]:
    """The heads' own parts of each vector."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)


class _Sum(nn.Module):
    """The tokens' sum, by weights of the places and in directions that the question chooses: what counting needs.

    How it chooses is not linear in its words: "top" and "left" name one place of nine together.
    """

    def __init__(self, shape: ReaderShape, d_in: int) -> None:
        super().__init__()
        width = shape.width
        self.weights, self.gate = nn.Linear(width, shape.places), nn.Linear(width, width)
        self.tokens, self.merge = nn.Linear(d_in, width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.question = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        nn.init.zeros_(self.weights.weight)
        nn.init.constant_(self.weights.bias, 1.0)

    def forward(
        self, asked: Float[Tensor, "b q w"], tokens: Float[Tensor, "b n d"], there: Bool[Tensor, "b n"] | None
    ) -> tuple[Float[Tensor, "b q w"], Float[Tensor, "b q w"]]:
        """The sum, which is linear in the tokens, and what chose it; tokens that are not there count nothing."""
        asked = self.norm(asked)
        states = asked + self.question(asked)
        weights = self.weights(states)[..., : tokens.shape[1]]
        if there is not None:
            weights = weights * there[:, None]
        seen = self.tokens(weights @ tokens / self.weights.out_features**0.5)
        return self.merge(seen * (1 + self.gate(states))), states


class AttentionReader(nn.Module):
    """The question's embedding reads the tokens twice, and their sum is added; one further token stands for "nothing".

    Tokens pass an MLP of their own first: what a connector of that kind has worked out behind, a reader has to work out
    before it.
    """

    def __init__(self, shape: ReaderShape) -> None:
        super().__init__()
        self.shape = shape
        self.language = _Words(shape)
        width = shape.width
        self.tokens = nn.Sequential(nn.Linear(shape.d_in, width), nn.GELU(), nn.Linear(width, width))
        self.places = nn.Parameter(torch.randn(shape.places, width) * PLACE_SCALE)
        self.nothing = nn.Parameter(torch.randn(1, 1, width) * PLACE_SCALE)
        self.norm_tokens = nn.LayerNorm(width)
        self.offered = nn.Linear(width, 2 * width)
        self.blocks = nn.ModuleList(_ReadingLayer(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(width)
        self.sum = _Sum(shape, width)

    def forward(
        self,
        tokens: Float[Tensor, "b n d"],
        questions: Int[Tensor, "b q l"],
        there: Bool[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b q a"]:
        """`there` is False where an image has fewer tokens than others; None where all have as many."""
        image = self.tokens(tokens) + self.places[: tokens.shape[1]]
        image = self.norm_tokens(torch.cat([image, self.nothing.expand(len(image), 1, -1)], dim=1))
        keys, values = (by_head(part, self.shape.heads) for part in self.offered(image).chunk(2, dim=-1))
        mask = None if there is None else F.pad(there, (0, 1), value=True)[:, None, None]
        states = asked = self.language.asked(questions)
        for block in self.blocks:
            states = block(states, keys, values, mask)
        summed, _ = self.sum(asked, image[:, :-1], there)
        return self.language.scored(self.norm(states + summed))


class LinearReader(nn.Module):
    """Linear in the tokens: the question chooses how much each place counts and which directions are looked at."""

    def __init__(self, shape: ReaderShape) -> None:
        super().__init__()
        self.shape = shape
        self.language = _Words(shape)
        self.sum = _Sum(shape, shape.d_in)
        self.alone = nn.Linear(shape.width, shape.width)

    def forward(
        self,
        tokens: Float[Tensor, "b n d"],
        questions: Int[Tensor, "b q l"],
        there: Bool[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b q a"]:
        """As `AttentionReader`."""
        summed, states = self.sum(self.language.asked(questions), tokens, there)
        return self.language.scored(summed + self.alone(states))
