"""`LlavaLlamaForCausalLM` and what the `llava` package does before it: pictures, prompt, conversation."""

from __future__ import annotations

import math
from itertools import chain
from types import SimpleNamespace
from typing import Any

import torch
import transformers as hf
from PIL import Image
from torch import nn
from transformers.image_processing_utils import select_best_resolution

from tests.tiny_vlms.parts import PATCH, TEXT, VISION, clip, decoder, tokenizer

IMAGE_TOKEN_INDEX = -200
TILE = 56
PINPOINTS = [[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]]
"""Width before height."""
NEXT = {
    "model_type": "llava_qwen",
    "image_aspect_ratio": "anyres_max_9",
    "mm_patch_merge_type": "spatial_unpad",
    "image_grid_pinpoints": "(1x1),...,(3x3)",
}
"""LLaVA-NeXT's settings; its canvases are a range of tiles."""


class LlavaConfig(hf.LlamaConfig):
    model_type = "llava_llama"


def canvases_of(config: Any) -> list[list[int]]:
    """Width and height of every canvas, in pixels."""
    declared = config.image_grid_pinpoints
    if not isinstance(declared, str):
        return declared
    return [[columns * TILE, rows * TILE] for columns in (1, 2, 3) for rows in (1, 2, 3)]


class CLIPVisionTower(nn.Module):
    """CLIP with the layer and the tokens that the configuration selects."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.select_layer = config.mm_vision_select_layer
        self.select_feature = config.mm_vision_select_feature
        self.vision_tower = hf.CLIPVisionModel(clip())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        chosen = self.vision_tower(images, output_hidden_states=True).hidden_states[self.select_layer]
        return chosen[:, 1:] if self.select_feature == "patch" else chosen


class LlavaLlamaModel(hf.LlamaModel):
    config_class = LlavaConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.vision_tower = CLIPVisionTower(config)
        self.mm_projector = nn.Sequential(nn.Linear(VISION, TEXT), nn.GELU(), nn.Linear(TEXT, TEXT))
        self.image_newline = nn.Parameter(torch.randn(TEXT))

    def get_vision_tower(self) -> nn.Module:
        return self.vision_tower


class LlavaLlamaForCausalLM(hf.LlamaForCausalLM):
    config_class = LlavaConfig

    def __init__(self, config: Any) -> None:
        super(hf.LlamaForCausalLM, self).__init__(config)
        self.model = LlavaLlamaModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_model(self) -> Any:
        return self.model

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        return self.get_model().mm_projector(self.get_model().get_vision_tower()(images))

    def _of_each_picture(self, images: Any, image_sizes: Any) -> list[torch.Tensor]:
        """Tokens of each picture as the language model receives them."""
        if isinstance(images, torch.Tensor) and images.ndim == 4:
            return list(self.encode_images(images))
        stacks = [one if one.ndim == 4 else one[None] for one in images]
        features = self.encode_images(torch.cat(stacks)).split([len(one) for one in stacks])
        if self.config.mm_patch_merge_type == "flat":
            return [tiles.flatten(0, 1) for tiles in features]
        return [self._merged(tiles, size) for tiles, size in zip(features, image_sizes, strict=True)]

    def _merged(self, tiles: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """The whole picture, then the canvas row by row across its tiles."""
        if len(tiles) == 1:
            return torch.cat([tiles[0], self.model.image_newline[None]])
        width, height = select_best_resolution(size, canvases_of(self.config))
        side = TILE // PATCH
        canvas = tiles[1:].view(height // TILE, width // TILE, side, side, -1).transpose(1, 2)
        canvas = canvas.flatten(2, 3).flatten(0, 1)
        if "unpad" not in self.config.mm_patch_merge_type:
            return torch.cat([tiles[0], canvas.flatten(0, 1)])
        canvas = unpad_image(canvas.permute(2, 0, 1), size)
        newlines = self.model.image_newline[:, None, None].expand(*canvas.shape[:-1], 1)
        return torch.cat([tiles[0], torch.cat([canvas, newlines], -1).flatten(1, 2).T])

    @torch.no_grad()
    def generate(
        self, inputs: torch.Tensor, images: Any = None, image_sizes: Any = None, **settings: Any
    ) -> torch.Tensor:
        """One prompt, in which every picture is marked by one number."""
        settings.pop("attention_mask", None)
        (ids,) = inputs
        features, embed = self._of_each_picture(images, image_sizes), self.get_input_embeddings()
        ends = [*(ids == IMAGE_TOKEN_INDEX).nonzero()[:, 0].tolist(), len(ids)]
        texts = [
            embed(ids[first:end]) for first, end in zip([0, *(end + 1 for end in ends)], ends, strict=False)
        ]
        parts = [*chain.from_iterable(zip(texts, features, strict=False)), texts[-1]]
        return super().generate(inputs_embeds=torch.cat(parts)[None], **settings)


def unpad_image(tokens: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """A `[width of tokens, rows, columns]` canvas without the rows or columns that only padding fills."""
    width, height = size
    rows, columns = tokens.shape[1:]
    if width / height > columns / rows:
        cut = (rows - int(height * (columns / width))) // 2
        return tokens[:, cut : rows - cut]
    cut = (columns - int(width * (rows / height))) // 2
    return tokens[:, :, cut : columns - cut]


def padded_to_square(image: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    side = max(image.size)
    canvas = Image.new("RGB", (side, side), colour)
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return canvas


def tiles_of(image: Image.Image, canvases: Any) -> list[Image.Image]:
    """The whole picture squeezed in a tile, then the tiles of its padded enlargement row by row."""
    width, height = select_best_resolution(image.size, canvases)
    across, down = width / image.width, height / image.height
    if across < down:
        inner = width, min(math.ceil(image.height * across), height)
    else:
        inner = min(math.ceil(image.width * down), width), height
    canvas = Image.new("RGB", (width, height))
    canvas.paste(image.resize(inner), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    corners = [(left, top) for top in range(0, height, TILE) for left in range(0, width, TILE)]
    cut = [canvas.crop((left, top, left + TILE, top + TILE)) for left, top in corners]
    return [image.resize((TILE, TILE)), *cut]


def process_images(images: list[Image.Image], image_processor: Any, config: Any) -> torch.Tensor:
    def pixels(pictures: list[Image.Image]) -> torch.Tensor:
        return image_processor(pictures, return_tensors="pt")["pixel_values"]

    if config.image_aspect_ratio == "pad":
        colour = tuple(int(255 * mean) for mean in image_processor.image_mean)
        return pixels([padded_to_square(image, colour) for image in images])
    if str(config.image_aspect_ratio).startswith("anyres"):
        return torch.stack([pixels(tiles_of(image, canvases_of(config))) for image in images])
    return pixels(images)


def tokenizer_image_token(
    prompt: str, tokenizer: Any, image_token_index: int = IMAGE_TOKEN_INDEX, return_tensors: str | None = None
) -> torch.Tensor:
    pieces = [tokenizer(piece).input_ids for piece in prompt.split("<image>")]
    ids = pieces[0] + [one for piece in pieces[1:] for one in (image_token_index, *piece)]
    return torch.tensor(ids)


class Conversation(SimpleNamespace):
    roles = ("USER", "ASSISTANT")

    def copy(self) -> Conversation:
        return Conversation(said=[])

    def append_message(self, role: str, message: str | None) -> None:
        self.said.append((role, message))

    def get_prompt(self) -> str:
        return " ".join(f"{role}: {message or ''}" for role, message in self.said)


NAMES = {
    "DEFAULT_IMAGE_TOKEN": "<image>",
    "IMAGE_TOKEN_INDEX": IMAGE_TOKEN_INDEX,
    "conv_templates": {"vicuna_v1": Conversation()},
    "process_images": process_images,
    "tokenizer_image_token": tokenizer_image_token,
}
"""What the wrapper imports from the `llava` package."""


def build(**settings: Any) -> tuple[Any, Any]:
    """The model, and its tokenizer with its image processor."""
    chosen = {
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
        "mm_patch_merge_type": "flat",
        "image_aspect_ratio": "pad",
        "image_grid_pinpoints": PINPOINTS,
        **settings,
    }
    config = LlavaConfig(**decoder())
    for name, value in chosen.items():
        setattr(config, name, value)
    processor = hf.CLIPImageProcessor(size={"shortest_edge": TILE}, crop_size={"height": TILE, "width": TILE})
    return LlavaLlamaForCausalLM(config), (tokenizer(), processor)
