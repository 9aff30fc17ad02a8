"""Ovis's structure: a backbone, blocks of patches, a head to a visual vocabulary, its softmax, mixed embeddings."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PretrainedConfig

from tests.remote_code.answering import PATCH, TEXT, VISION, as_pixels, language_model, siglip, siglip_config

STRIDE, WORDS, MARKS = 2, 40, 5
TILE, BEGIN, END, SAME_ROW, NEXT_ROW, LAST = -300, -301, -302, -303, -304, -305


class OvisConfig(PretrainedConfig):
    """With the parts that its code reads."""

    model_type = "ovis"


class VisualTokenizer(nn.Module):
    """Pixels to probabilities of visual words, of which the last mark where tiles begin and end."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.side = config.backbone_config.image_size
        self.backbone = siglip(self.side)
        self.head = nn.Sequential(
            nn.Linear(STRIDE**2 * VISION, WORDS - MARKS, bias=False), nn.LayerNorm(WORDS - MARKS)
        )

    def preprocess_image(self, picture: Any, max_partition: int) -> tuple[Tensor, list[int]]:
        """Tiles, the whole first where there are several, and their marks."""
        grid = self._grid(picture, max_partition)
        width, height = picture.width // grid[1], picture.height // grid[0]
        tiles = [picture] if math.prod(grid) > 1 else []
        marks = [BEGIN, TILE, END]
        for row in range(grid[0]):
            for column in range(grid[1]):
                right = picture.width if column == grid[1] - 1 else (column + 1) * width
                below = picture.height if row == grid[0] - 1 else (row + 1) * height
                tiles.append(picture.crop((column * width, row * height, right, below)))
                marks += [TILE, SAME_ROW] if column < grid[1] - 1 else [TILE]
            marks += [NEXT_ROW] if row < grid[0] - 1 else []
        marks = [*marks, LAST] if math.prod(grid) > 1 else [BEGIN, TILE, END]
        return torch.stack([self._padded(tile) for tile in tiles]), marks

    @staticmethod
    def _grid(picture: Any, most: int) -> tuple[int, int]:
        """The rows and columns whose tiles are nearest to squares, of as many as are allowed."""
        grids = [(r, c) for r in range(1, most + 1) for c in range(1, most + 1) if r * c <= most]
        shape = picture.width / picture.height
        return min(grids, key=lambda g: (abs(math.log(shape * g[0] / g[1])), -g[0] * g[1]))

    def _padded(self, tile: Any) -> Tensor:
        long = max(tile.size)
        size = int(tile.height / long * self.side), int(tile.width / long * self.side)
        above, before = (self.side - size[0]) // 2, (self.side - size[1]) // 2
        edges = (before, self.side - size[1] - before, above, self.side - size[0] - above)
        return functional.pad(as_pixels(tile, size), edges)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Probabilities `[tiles, blocks, words]`."""
        states = self.backbone(pixel_values, output_hidden_states=True).hidden_states[-1]
        side = math.isqrt(states.shape[1])
        grid = states.unflatten(1, (side, side))
        grid = functional.pad(grid, (0, 0, 0, -side % STRIDE, 0, -side % STRIDE))
        cells = grid.shape[1] // STRIDE
        blocks = grid.reshape(len(grid), cells, STRIDE, cells, STRIDE, -1).transpose(2, 3)
        words = self.head(blocks.reshape(len(grid), cells**2, -1)).softmax(dim=-1)
        return functional.pad(words, (0, MARKS))


class VisualEmbedding(nn.Embedding):
    """Embeddings of visual words, or of mixtures of them."""

    def forward(self, words: Tensor) -> Tensor:
        """Rows of the table for numbers, mixtures for probabilities."""
        return super().forward(words) if not words.is_floating_point() else words @ self.weight


class Ovis(nn.Module):
    """The whole."""

    def __init__(self, pixels: int = 5 * PATCH) -> None:
        super().__init__()
        self.config = OvisConfig()
        self.config.visual_tokenizer_config = SimpleNamespace(
            hidden_stride=STRIDE, vocab_size=WORDS, backbone_config=siglip_config(pixels)
        )
        self.dtype = torch.float32
        self.llm = language_model()
        self.visual_tokenizer = VisualTokenizer(self.config.visual_tokenizer_config)
        self.vte = VisualEmbedding(WORDS, TEXT)

    def generate(self, inputs: Tensor, pixel_values: list[Tensor], **more: Any) -> Tensor:
        """One step; the embeddings of marks come from the same table, which is asked for them first."""
        marks = self.vte(torch.arange(WORDS - MARKS, WORDS))
        tiles = iter(self.vte(self.visual_tokenizer(torch.cat(pixel_values))))
        parts = []
        for number in inputs[0].tolist():
            if number == TILE:
                parts.append(next(tiles))
            elif number < 0:
                parts.append(marks[BEGIN - number][None])
            else:
                parts.append(self.llm.embed_tokens(torch.tensor([number])))
        self.llm(inputs_embeds=torch.cat(parts)[None])
        return torch.zeros(1, 1, dtype=torch.long)


def answer(model: Ovis, picture: Any, max_partition: int = 6) -> None:
    """As a wrapper does."""
    tiles, marks = model.visual_tokenizer.preprocess_image(picture, max_partition)
    model.generate(torch.tensor([[1, 2, *marks, 3]]), pixel_values=[tiles])
