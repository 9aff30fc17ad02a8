"""Molmo's structure: a tower of two layers side by side, attention over blocks of 2x2 patches, a gated perceptron."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PretrainedConfig

from tests.remote_code.answering import PATCH, TEXT, VISION, VOCABULARY, as_pixels, language_model

SIDE, MARGIN, MOST = 8, 2, 6
"""Patches a side of a crop; those it leaves to its neighbours at each edge; crops at most."""
CELLS, WINDOW = SIDE // 2, SIDE - 2 * MARGIN


class MolmoConfig(PretrainedConfig):
    """Which says nothing of the tower, as the published one."""

    model_type = "molmo"


class VisionTransformer(nn.Module):
    """Patches of pixels through two layers, whose states are all returned; a CLS comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embedding = nn.Linear(3 * PATCH**2, VISION, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(VISION))
        self.positional_embedding = nn.Parameter(torch.zeros(SIDE**2 + 1, VISION))
        self.transformer = nn.ModuleList(
            nn.TransformerEncoderLayer(VISION, 2, 64, 0.0, batch_first=True, norm_first=True)
            for _ in range(2)
        )

    def forward(self, patches: Tensor) -> list[Tensor]:
        """States behind each layer."""
        first = self.class_embedding.expand(len(patches), 1, -1)
        states = torch.cat([first, self.patch_embedding(patches)], dim=1) + self.positional_embedding
        found = []
        for layer in self.transformer:
            states = layer(states)
            found.append(states)
        return found


class MultiHeadDotProductAttention(nn.Module):
    """Queries over the patches of their block."""

    def __init__(self) -> None:
        super().__init__()
        self.wq, self.wk, self.wv = (nn.Linear(2 * VISION, VISION) for _ in range(3))
        self.wo = nn.Linear(VISION, VISION)

    def forward(self, inputs_q: Tensor, inputs_kv: Tensor | None = None) -> Tensor:
        """One token a query."""
        given = inputs_q if inputs_kv is None else inputs_kv
        split = [
            m.unflatten(-1, (2, -1)).transpose(1, 2)
            for m in (self.wq(inputs_q), self.wk(given), self.wv(given))
        ]
        return self.wo(functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Gated."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.w3 = nn.Linear(VISION, 64, bias=False), nn.Linear(VISION, 64, bias=False)
        self.w2 = nn.Linear(64, TEXT, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens of the language model's width."""
        return self.w2(functional.silu(self.w1(tokens)) * self.w3(tokens))


class VisionBackbone(nn.Module):
    """Tower and connector."""

    def __init__(self) -> None:
        super().__init__()
        self.image_vit = VisionTransformer()
        self.image_pooling_2d = MultiHeadDotProductAttention()
        self.image_projector = MLP()
        self.pad_embed = nn.Parameter(torch.full((2, 2 * VISION), 0.2))

    def forward(self, images: Tensor, image_masks: Tensor) -> tuple[Tensor, None]:
        """Tokens `[pictures, crops, cells, width]`."""
        pictures, crops = images.shape[:2]
        states = self.image_vit(images.flatten(0, 1))
        patches = torch.cat([states[-1], states[-2]], dim=-1)[:, 1:].unflatten(0, (pictures, crops))
        empty, partly = image_masks == 0, (image_masks < 1) & (image_masks != 0)
        patches = patches + self.pad_embed[0] * empty[..., None] + self.pad_embed[1] * partly[..., None]
        blocks = (
            patches.reshape(pictures * crops, CELLS, 2, CELLS, 2, -1)
            .transpose(2, 3)
            .reshape(-1, 4, 2 * VISION)
        )
        pooled = self.image_pooling_2d(blocks.mean(dim=1, keepdim=True), blocks)
        return self.image_projector(pooled.reshape(pictures, crops, CELLS**2, -1)), None


class Molmo(nn.Module):
    """Decoder and backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = language_model()
        self.vision_backbone = VisionBackbone()

    def forward(
        self, input_ids: Tensor, images: Tensor, image_masks: Tensor, image_input_idx: Tensor
    ) -> None:
        """Add each token of the picture to the embedding of its placeholder, and go on."""
        embeddings = self.decoder.embed_tokens(input_ids)
        tokens = self.vision_backbone(images, image_masks)[0].flatten(1, 2)
        numbers = image_input_idx.flatten(1)
        embeddings[0, numbers[0][numbers[0] >= 0]] += tokens[0][numbers[0] >= 0]
        self.decoder(inputs_embeds=embeddings)


class MolmoForCausalLM(nn.Module):
    """The whole."""

    def __init__(self) -> None:
        super().__init__()
        self.config = MolmoConfig()
        self.model = Molmo()
        self.dtype = torch.float32

    def generate_from_batch(self, batch: dict[str, Tensor], settings: Any = None, **more: Any) -> Tensor:
        """One step, by the inputs of one mapping."""
        self.model(**batch)
        return batch["input_ids"]


PLACEHOLDER = VOCABULARY - 1


def _padded(picture: Any, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The picture in the middle of a canvas, and which pixels are the picture's."""
    scale = min(size[0] / picture.height, size[1] / picture.width)
    own = int(picture.height * scale), int(picture.width * scale)
    above, before = (size[0] - own[0]) // 2, (size[1] - own[1]) // 2
    edges = (before, size[1] - own[1] - before, above, size[0] - own[0] - above)
    return functional.pad(as_pixels(picture, own), edges), functional.pad(torch.ones(own), edges)


def _in_patches(pixels: Tensor) -> Tensor:
    """`[channels, 112, 112]` as `[patches, values]`, channels last."""
    rows = pixels.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH)
    return rows.permute(1, 2, 3, 4, 0).reshape(SIDE**2, -1)


def _tiling(picture: Any) -> tuple[int, int]:
    grids = [(r, c) for r in range(1, MOST + 1) for c in range(1, MOST + 1) if r * c <= MOST]

    def scale(grid: tuple[int, int]) -> float:
        canvas = [(n * WINDOW + 2 * MARGIN) * PATCH for n in grid]
        return min(canvas[0] / picture.height, canvas[1] / picture.width)

    return max(grids, key=lambda g: (scale(g) if scale(g) < 1 else 1 / scale(g), -math.prod(g)))


def _inverse(numbers: list[np.ndarray]) -> list[np.ndarray]:
    """The places of the crops' tokens by the inverse of their order along rows, as published code has it."""
    kept = np.stack(numbers)
    values = kept[kept >= 0]
    kept[kept >= 0] = np.sort(values)[np.argsort(values)]
    return list(kept)


def preprocess(picture: Any, inverse: bool = False) -> dict[str, Tensor]:
    """The whole, then overlapping crops of a canvas; tokens of the canvas run along its rows, unless inversely."""
    grid = _tiling(picture)
    whole, shown = _padded(picture, (SIDE * PATCH, SIDE * PATCH))
    images, masks = [_in_patches(whole)], [_in_patches(shown[None]).mean(1)]
    canvas, real = _padded(picture, tuple((n * WINDOW + 2 * MARGIN) * PATCH for n in grid))
    rows, columns = ((n * WINDOW + 2 * MARGIN) // 2 for n in grid)
    first = 2 + CELLS**2
    order = first + np.arange(rows * (columns + 1)).reshape(rows, columns + 1)[:, :-1]
    numbers = [np.arange(2, 2 + CELLS**2).reshape(CELLS, CELLS)]
    for row in range(grid[0]):
        for column in range(grid[1]):
            above, before = row * WINDOW, column * WINDOW
            part = np.s_[:, above * PATCH : (above + SIDE) * PATCH, before * PATCH : (before + SIDE) * PATCH]
            images.append(_in_patches(canvas[part]))
            masks.append(_in_patches(real[None][part]).mean(1))
            own = order[above // 2 : above // 2 + CELLS, before // 2 : before // 2 + CELLS].copy()
            cut = MARGIN // 2
            own[: cut if row else 0] = -1
            own[CELLS - cut if row < grid[0] - 1 else CELLS :] = -1
            own[:, : cut if column else 0] = -1
            own[:, CELLS - cut if column < grid[1] - 1 else CELLS :] = -1
            numbers.append(own)
    numbers = [numbers[0], *_inverse(numbers[1:])] if inverse else numbers
    length = first + rows * (columns + 1) + 1
    return {
        "input_ids": torch.full((1, length), PLACEHOLDER),
        "images": torch.stack(images)[None],
        "image_masks": torch.stack(masks)[None],
        "image_input_idx": torch.from_numpy(np.stack(numbers).reshape(1, len(numbers), -1)),
    }


def answer(model: MolmoForCausalLM, picture: Any, inverse: bool = False) -> None:
    """As a wrapper does."""
    model.generate_from_batch(preprocess(picture, inverse), None, tokenizer=None)
