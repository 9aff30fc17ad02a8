"""The zoo's language side: a small pre-norm decoder that answers one question with one token.

The image tokens are a fixed prefix: their keys and values are computed once and read by all layers and by all
questions of an image. A question enters as the sum of its words' embeddings, one token that attends to the
image and to itself, never to another question; word order does not matter to it. Each image token gets a
learned position here, after the connector, whose vectors stay what it gave.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

PAD_ID = 0


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes. ``prefix`` is the number of image tokens."""

    prefix: int
    vocabulary: int
    width: int = 128
    layers: int = 2
    heads: int = 8
    mlp_ratio: int = 2

    def as_dict(self) -> dict[str, int]:
        """The sizes by name, for the card."""
        return asdict(self)


class Layer(nn.Module):
    """Each question attends to the image and to itself, then an MLP; both residual, pre-norm."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm_question = nn.LayerNorm(width)
        self.norm_mlp = nn.LayerNorm(width)
        self.from_question = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        hidden = width * config.mlp_ratio
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def _heads(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b h n e"]:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(
        self,
        questions: Float[Tensor, "b q d"],
        image_keys: Float[Tensor, "b m d"],
        image_values: Float[Tensor, "b m d"],
    ) -> Float[Tensor, "b q d"]:
        """New states of the questions."""
        own = self.from_question(self.norm_question(questions)).chunk(3, dim=-1)
        query, own_key, own_value = (self._heads(part) for part in own)
        keys, values = self._heads(image_keys), self._heads(image_values)
        query = query * query.shape[-1] ** -0.5
        scores = torch.cat([query @ keys.transpose(-1, -2), (query * own_key).sum(-1, keepdim=True)], dim=-1)
        weights = scores.softmax(-1)
        read = weights[..., :-1] @ values + weights[..., -1:] * own_value
        questions = questions + self.merge(read.transpose(1, 2).flatten(2))
        return questions + self.mlp(self.norm_mlp(questions))


class Decoder(nn.Module):
    """Connector tokens and questions -> a score for every word of the vocabulary as the answer."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocabulary, config.width, padding_idx=PAD_ID)
        self.image_positions = nn.Parameter(torch.randn(config.prefix, config.width) * 0.3)
        self.norm_image = nn.LayerNorm(config.width)
        self.from_image = nn.Linear(config.width, 2 * config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))
        nn.init.normal_(self.words.weight, std=0.1)

    def forward(
        self, post: Float[Tensor, "b m d"], questions: Int[Tensor, "b q l"]
    ) -> Float[Tensor, "b q v"]:
        """``questions`` holds word ids, padded with ``PAD_ID``.

        The output scores share the words' embeddings.
        """
        image = self.norm_image(post + self.image_positions)
        keys, values = self.from_image(image).chunk(2, dim=-1)
        states = (self.words(questions) * (questions != PAD_ID)[..., None]).sum(2)
        for layer in self.layers:
            states = layer(states, keys, values)
        return F.linear(self.norm(states), self.words.weight, self.bias)

    def loss(
        self, post: Float[Tensor, "b m d"], questions: Int[Tensor, "b q l"], answers: Int[Tensor, "b q"]
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy, in nats, over the questions whose answer is not ``PAD_ID``."""
        scores = self(post, questions)
        return F.cross_entropy(scores.flatten(0, 1), answers.flatten(), ignore_index=PAD_ID)
