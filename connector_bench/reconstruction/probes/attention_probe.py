"""The probe for connectors whose tokens have no place: patch positions ask, the connector's tokens answer.

Each patch's query is a function of where it lies in the picture (Fourier features of its centre and size,
Tancik et al. 2020), keys and values are the image's tokens with an embedding of their index within their
tile, since a resampler's tokens are ordered by its learned queries, and of the tile's place. Beside it runs
a linear path from the mean-pooled tokens that starts at its ridge solution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from connector_bench.reconstruction.patch_boxes import query_boxes
from connector_bench.reconstruction.probes.mlp import Standardizer
from connector_bench.reconstruction.probes.ridge import Affine
from connector_bench.types import WHOLE_PICTURE, TokenLayout

FREQUENCIES = 6
BOX_FEATURES = 4 + 4 * 2 * FREQUENCIES
INDEX_SCALE = 0.5
"""Size of a token's index embedding at the start, that of its content. With the 0.02 of language models,
queries took most of the training to find which token is where, or never did."""


@dataclass(frozen=True)
class AttentionShape:
    """Everything that decides an attention probe's function besides its weights, heads among it."""

    d_in: int
    d_out: int
    max_tokens: int
    width: int = 256
    heads: int = 8
    layers: int = 2
    linear_path: bool = True

    def __post_init__(self) -> None:
        if self.width % self.heads or min(self.d_in, self.d_out, self.max_tokens, self.layers) < 1:
            raise ValueError(f"width must be a multiple of heads and all sizes positive, got {self}")


@dataclass(frozen=True, eq=False)
class TokenPlaces:
    """What is known of where a batch of images' tokens come from."""

    index: Int[Tensor, "b t"]
    """Index of each token within its tile."""
    boxes: Float[Tensor, "b t 4"]
    """Each token's tile in the picture."""
    padding: Bool[Tensor, "b t"]
    """True where there is no token."""

    def to(self, device: torch.device) -> TokenPlaces:
        """The same on a device."""
        return TokenPlaces(self.index.to(device), self.boxes.to(device), self.padding.to(device))

    @classmethod
    def of(cls, layout: TokenLayout) -> TokenPlaces:
        """One image's; tokens are shared out evenly over tiles, or all belong to the whole picture."""
        tiles = len(layout.tiles)
        if layout.unplaced or layout.n_post % tiles:
            boxes, per_tile = torch.tensor([WHOLE_PICTURE]).repeat(layout.n_post, 1), layout.n_post
        else:
            per_tile = layout.n_post // tiles
            boxes = torch.tensor([tile.box for tile in layout.tiles]).repeat_interleave(per_tile, dim=0)
        index = torch.arange(layout.n_post) % per_tile
        return cls(
            index[None], boxes[None].to(torch.float32), torch.zeros(1, layout.n_post, dtype=torch.bool)
        )


@lru_cache(maxsize=64)
def places_and_boxes(
    layouts: tuple[TokenLayout, ...], device: torch.device
) -> tuple[TokenPlaces, Float[Tensor, "images most 4"]]:
    """Where the tokens and the patches of images lie, padded to one length, on a device."""
    places = [TokenPlaces.of(layout) for layout in layouts]
    counts = torch.tensor([layout.n_post for layout in layouts])
    index = pad_sequence([place.index[0] for place in places], batch_first=True)
    tiles = pad_sequence([place.boxes[0] for place in places], batch_first=True)
    padding = torch.arange(index.shape[1]) >= counts[:, None]
    boxes = [torch.from_numpy(query_boxes(layout)).to(torch.float32) for layout in layouts]
    return TokenPlaces(index, tiles, padding).to(device), pad_sequence(boxes, batch_first=True).to(device)


def box_features(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n features"]:
    """Centre and size of patches in the picture, and sines and cosines of them at doubling frequencies."""
    left, top, right, bottom = boxes.unbind(-1)
    place = torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], dim=-1)
    angles = place[..., None] * (math.pi * 2.0 ** torch.arange(FREQUENCIES, device=boxes.device))
    return torch.cat([place, angles.sin().flatten(-2), angles.cos().flatten(-2)], dim=-1).to(torch.float32)


class _Block(nn.Module):
    """Pre-norm cross-attention from patches to tokens, then a feed-forward layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_query, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, query: Tensor, tokens: Tensor, padding: Tensor) -> Tensor:
        answer, _ = self.attention(
            self.norm_query(query), tokens, tokens, key_padding_mask=padding, need_weights=False
        )
        query = query + answer
        feed: Tensor = self.feed(self.norm_feed(query))
        return query + feed


class AttentionProbe(nn.Module):
    """Predicts patches from all of an image's tokens and each patch's place in the picture."""

    def __init__(self, shape: AttentionShape) -> None:
        super().__init__()
        self.shape = shape
        self.inputs, self.targets = Standardizer(shape.d_in), Standardizer(shape.d_out)
        self.pooled_inputs = Standardizer(shape.d_in)
        self.query = nn.Sequential(
            nn.Linear(BOX_FEATURES, shape.width), nn.GELU(), nn.Linear(shape.width, shape.width)
        )
        self.tokens = nn.Linear(shape.d_in, shape.width)
        self.token_index = nn.Parameter(torch.randn(shape.max_tokens, shape.width) * INDEX_SCALE)
        self.tile = nn.Linear(BOX_FEATURES, shape.width)
        self.token_norm = nn.LayerNorm(shape.width)
        self.blocks = nn.ModuleList(_Block(shape.width, shape.heads) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.d_out)
        self.pooled = nn.Linear(shape.d_in, shape.d_out) if shape.linear_path else None

    @torch.no_grad()
    def start_at(self, ridge: Affine) -> None:
        """Make the untrained probe equal to a ridge from mean-pooled tokens, given in original units."""
        if self.pooled is None:
            raise ValueError("this probe has no linear path to start at a ridge solution")
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        weight = self.pooled_inputs.scale[:, None] * ridge.weight / self.targets.scale
        bias = (self.pooled_inputs.mean @ ridge.weight + ridge.bias - self.targets.mean) / self.targets.scale
        self.pooled.weight.copy_(weight.T)
        self.pooled.bias.copy_(bias)

    def forward(
        self,
        tokens: Float[Tensor, "b t d_in"],
        places: TokenPlaces,
        boxes: Float[Tensor, "b p 4"],
    ) -> Float[Tensor, "b p d_out"]:
        """Tokens in their units to standardised patches; an index past those trained counts as the last."""
        real = (~places.padding).to(torch.float64)[..., None]
        mean = (tokens.to(torch.float64) * real).sum(1) / real.sum(1)
        return self.answer(self.inputs(tokens), self.pooled_inputs(mean), places, boxes)

    def answer(
        self,
        tokens: Float[Tensor, "b t d_in"],
        pooled: Float[Tensor, "b d_in"],
        places: TokenPlaces,
        boxes: Float[Tensor, "b p 4"],
    ) -> Float[Tensor, "b p d_out"]:
        """The same from standardised tokens and mean tokens, which do not change while the probe trains."""
        index = self.token_index[places.index.clamp(max=self.shape.max_tokens - 1)]
        keys = self.tokens(tokens) + index + self.tile(box_features(places.boxes))
        keys, padding = self.token_norm(keys), places.padding
        query = self.query(box_features(boxes))
        for block in self.blocks:
            query = block(query, keys, padding)
        answer: Tensor = self.head(self.norm(query))
        return answer if self.pooled is None else answer + self.pooled(pooled)[:, None]

    @property
    def parameters_count(self) -> int:
        """Trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters())


@dataclass(frozen=True, eq=False)
class SampledImage:
    """One image's tokens and the patches that are asked for."""

    fold: int
    tokens: Float[Tensor, "t d_in"]
    token_index: Int[Tensor, " t"]
    token_boxes: Float[Tensor, "t 4"]
    patches: Float[Tensor, "p d_out"]
    patch_boxes: Float[Tensor, "p 4"]


PARTS = ("tokens", "token_index", "token_boxes", "patches", "patch_boxes")
