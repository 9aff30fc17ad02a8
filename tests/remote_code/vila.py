"""VILA's and NVILA's structure: a tower, 2x2 or 3x3 merge, norm and perceptron; scales side by side (S2)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PretrainedConfig

from tests.remote_code.answering import TEXT, VISION, as_pixels, cut, language_model, siglip


class LlavaLlamaConfig(PretrainedConfig):
    """With the parts that VILA's own code adds."""

    model_type = "llava_llama"


class DownSampleBlock(nn.Module):
    """Blocks of patches side by side, zeros where they end."""

    def __init__(self, block: int, columns_first: bool) -> None:
        super().__init__()
        self.block, self.columns_first = block, columns_first

    def forward(self, patches: Tensor) -> Tensor:
        """Blocks along the rows, or down the columns."""
        side, block = math.isqrt(patches.shape[1]), self.block
        grid = functional.pad(patches.unflatten(1, (side, side)), (0, 0, 0, -side % block, 0, -side % block))
        cells = grid.shape[1] // block
        merged = grid.reshape(len(grid), cells, block, cells, block, -1).transpose(2, 3).flatten(3)
        return (merged.transpose(1, 2) if self.columns_first else merged).flatten(1, 2)


class MultimodalProjector(nn.Module):
    """Merger, norm, perceptron; a perceptron alone where nothing is merged."""

    def __init__(self, width: int, block: int, columns_first: bool) -> None:
        super().__init__()
        merged = block**2 * width
        end = [nn.Linear(merged, TEXT), nn.GELU(), nn.Linear(TEXT, TEXT)]
        start = [DownSampleBlock(block, columns_first), nn.LayerNorm(merged)] if block > 1 else []
        self.layers = nn.Sequential(*start, *end)

    def forward(self, patches: Tensor) -> Tensor:
        """Tokens of the language model's width."""
        return self.layers(patches)


class VisionTower(nn.Module):
    """The tower without its norm, and the sizes a picture is shown in."""

    def __init__(self, side: int, scales: tuple[int, ...], resize_to: int) -> None:
        super().__init__()
        self.vision_tower = siglip(side)
        self.scales, self.resize_output_to_scale_idx = scales, resize_to

    def forward(self, pixels: Tensor) -> Tensor:
        """Patches of the last layer but one."""
        return self.vision_tower(pixels, output_hidden_states=True).hidden_states[-2]


class LlavaLlamaModel(nn.Module):
    """The whole."""

    def __init__(
        self,
        side: int = 56,
        kind: str = "mlp_downsample_2x2_fix",
        block: int = 2,
        columns_first: bool = False,
        aspect: str = "resize",
        scales: tuple[int, ...] = (),
        resize_to: int = -1,
    ) -> None:
        super().__init__()
        self.config = LlavaLlamaConfig(
            llm_cfg={"model_type": "llama"},
            mm_projector_cfg={"mm_projector_type": kind},
            image_aspect_ratio=aspect,
            dynamic_s2=bool(scales),
        )
        self.dtype, self.side = torch.float32, side
        self.llm = language_model()
        self.vision_tower = VisionTower(side, scales, resize_to)
        self.mm_projector = MultimodalProjector(VISION * max(len(scales), 1), block, columns_first)

    def encode_images(self, images: Tensor, block_sizes: Any = None) -> Any:
        """What the language model gets: tiles one after another, or one picture's rows across its tiles."""
        patches = self.vision_tower(images)
        if not self.config.dynamic_s2:
            return self.mm_projector(patches)
        found, first = [], 0
        scales = self.vision_tower.scales
        for given in block_sizes:
            grids = [(scale // scales[0],) * 2 for scale in scales[:-1]] + [given]
            maps = []
            for grid in grids:
                maps.append(_merged(patches[first : first + math.prod(grid)], grid))
                first += math.prod(grid)
            last = self.vision_tower.resize_output_to_scale_idx
            size = maps[last].shape[-2:]
            joined = torch.cat([functional.interpolate(m, size=size, mode="area") for m in maps], dim=1)
            tiles = cut(joined[0], grids[last])
            tokens = self.mm_projector(tiles.flatten(2).transpose(1, 2))
            found.append(_merged(tokens, grids[last])[0].flatten(1).T)
        return found

    def generate(self, input_ids: Tensor, media: Any, media_config: Any, **more: Any) -> Tensor:
        """One step."""
        sizes = media_config["image"].get("block_sizes")
        tokens = self.encode_images(torch.stack(media["image"]), sizes)
        parts = [tokens.flatten(0, 1)] if isinstance(tokens, Tensor) else tokens
        text = self.llm.embed_tokens(input_ids[0])
        self.llm(inputs_embeds=torch.cat([text, *parts, text])[None])
        return input_ids


def _merged(tiles: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tiles `[tiles, patches, width]` as one map `[1, width, height, width]`."""
    side = math.isqrt(tiles.shape[1])
    rows = tiles.reshape(*grid, side, side, -1).transpose(1, 2)
    return rows.reshape(grid[0] * side, grid[1] * side, -1).permute(2, 0, 1)[None]


def _grid(picture: Any, fewest: int, most: int) -> tuple[int, int]:
    grids = [(r, c) for r in range(1, most + 1) for c in range(1, most + 1) if fewest <= r * c <= most]
    shape = picture.width / picture.height
    return min(grids, key=lambda g: abs(shape - g[1] / g[0]))


def answer(model: LlavaLlamaModel, picture: Any) -> None:
    """As a wrapper does, by the configuration's aspect ratio."""
    side, aspect = model.side, model.config.image_aspect_ratio
    extra: dict[str, Any] = {}
    if aspect == "dynamic_s2":
        scales = model.vision_tower.scales
        grid = _grid(picture, (scales[-1] // scales[0]) ** 2, 12)
        grids = [(scale // scales[0],) * 2 for scale in scales[:-1]] + [grid]
        tiles = torch.cat([cut(as_pixels(picture, (g[0] * side, g[1] * side)), g) for g in grids])
        extra["block_sizes"] = [grid]
    elif aspect == "dynamic":
        grid = _grid(picture, 1, 6)
        tiles = cut(as_pixels(picture, (grid[0] * side, grid[1] * side)), grid)
        if len(tiles) > 1:
            tiles = torch.cat([tiles, as_pixels(picture, (side, side))[None]])
    elif aspect == "pad":
        long = max(picture.size)
        above, before = (long - picture.height) // 2, (long - picture.width) // 2
        from PIL import Image

        square = Image.new("RGB", (long, long))
        square.paste(picture, (before, above))
        tiles = as_pixels(square, (side, side))[None]
    else:
        tiles = as_pixels(picture, (side, side))[None]
    model.generate(torch.tensor([[1, 2]]), media={"image": list(tiles)}, media_config={"image": extra})
