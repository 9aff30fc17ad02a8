"""Phi-3.5-vision's structure: CLIP on crops and on the whole, 2x2 merge, newlines, a perceptron."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BatchFeature, CLIPVisionConfig, CLIPVisionModel, PretrainedConfig

from tests.remote_code.answering import PATCH, TEXT, VISION, VOCABULARY, as_pixels, cut, language_model
from tests.tiny_vlms.parts import tokenizer

CROP = 4 * PATCH
CELLS = CROP // PATCH // 2
MOST = 1_000_000_000


class Phi3VConfig(PretrainedConfig):
    """With the entries that its code reads."""

    model_type = "phi3_v"

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.img_processor = {"image_dim_out": VISION, "num_img_tokens": CELLS**2}
        self.embd_layer = {
            "image_embd_layer": {"hd_transform_order": "sub_glb", "use_hd_transform": True},
            "embedding_cls": "image",
        }


class Phi3ImageEmbedding(nn.Module):
    """Tower, newlines and connector; what they give replaces the embeddings of negative ids."""

    def __init__(self) -> None:
        super().__init__()
        clip = CLIPVisionConfig(
            hidden_size=VISION,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=2,
            image_size=CROP,
            patch_size=PATCH,
        )
        self.wte = nn.Embedding(VOCABULARY, TEXT)
        self.img_processor = CLIPVisionModel(clip)
        self.glb_GN = nn.Parameter(torch.full((1, 1, 4 * VISION), 0.3))
        self.sub_GN = nn.Parameter(torch.full((1, 1, 1, 4 * VISION), -0.3))
        self.img_projection = nn.Sequential(nn.Linear(4 * VISION, TEXT), nn.GELU(), nn.Linear(TEXT, TEXT))

    def forward(self, input_ids: Tensor, pixel_values: Tensor, image_sizes: Any = None) -> Tensor:
        """Embeddings of a prompt, those of the pictures among them."""
        where = (input_ids < 0) & (input_ids > -MOST)
        embeddings = self.wte(input_ids.clamp(0, VOCABULARY - 1))
        states = self.img_processor(pixel_values.flatten(0, 1), output_hidden_states=True).hidden_states[-2]
        patches = states[:, 1:].unflatten(0, pixel_values.shape[:2])
        rows: list[Tensor] = []
        for own, (height, width) in zip(patches, torch.as_tensor(image_sizes).tolist(), strict=True):
            grid = height // CROP, width // CROP
            crops = self._with_newlines(own[1 : 1 + math.prod(grid)], grid)
            rows += [crops, self.glb_GN[0], self._with_newlines(own[:1], (1, 1))]
        embeddings[where] = self.img_projection(torch.cat(rows)).to(embeddings.dtype)
        return embeddings

    def _with_newlines(self, crops: Tensor, grid: tuple[int, int]) -> Tensor:
        side, width = 2 * CELLS, crops.shape[-1]
        canvas = crops.reshape(*grid, side, side, width).transpose(1, 2)
        canvas = canvas.reshape(grid[0] * CELLS, 2, grid[1] * CELLS, 2, width).transpose(1, 2).flatten(2)
        newline = self.sub_GN[0].expand(len(canvas), 1, -1)
        return torch.cat([canvas, newline], dim=1).flatten(0, 1)


class Phi3VModel(nn.Module):
    """The embeddings and the decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = language_model()
        self.vision_embed_tokens = Phi3ImageEmbedding()


class Phi3VForCausalLM(nn.Module):
    """The whole."""

    def __init__(self) -> None:
        super().__init__()
        self.config = Phi3VConfig()
        self.model = Phi3VModel()
        self.dtype = torch.float32

    def generate(self, input_ids: Tensor, pixel_values: Tensor, image_sizes: Any, **more: Any) -> Tensor:
        """One step."""
        embeddings = self.model.vision_embed_tokens(input_ids, pixel_values, image_sizes)
        self.model.decoder(inputs_embeds=embeddings)
        return torch.cat([input_ids, input_ids[:, -1:]], dim=1)


class Phi3VImageProcessor:
    """A canvas of whole crops around the picture, white where it is not, and the canvas in one crop."""

    num_crops = 6

    def preprocess(self, images: Any, return_tensors: str = "pt") -> dict[str, Any]:
        """Pictures as crops."""
        stacks, sizes = zip(*(self._one(picture) for picture in images), strict=True)
        counts = [self._tokens(size) for size in sizes]
        return {
            "pixel_values": torch.stack(stacks),
            "image_sizes": torch.tensor(sizes),
            "num_img_tokens": counts,
        }

    __call__ = preprocess

    @staticmethod
    def _tokens(size: tuple[int, int]) -> int:
        rows, columns = size[0] // CROP, size[1] // CROP
        return (rows * columns + 1) * CELLS**2 + 1 + (rows + 1) * CELLS

    def _one(self, picture: Any) -> tuple[Tensor, tuple[int, int]]:
        tall = picture.height > picture.width
        long, short = max(picture.size), min(picture.size)
        ratio, scale = long / short, 1
        while (scale + 1) * math.ceil((scale + 1) / ratio) <= self.num_crops:
            scale += 1
        across = scale * CROP
        shown = int(across / ratio)
        pixels = as_pixels(picture, (across, shown) if tall else (shown, across))
        missing = math.ceil(shown / CROP) * CROP - shown
        before = int(missing / 2)
        edges = (before, missing - before, 0, 0) if tall else (0, 0, before, missing - before)
        canvas = functional.pad(pixels, edges, value=1.0)
        grid = canvas.shape[1] // CROP, canvas.shape[2] // CROP
        whole = functional.interpolate(canvas[None], size=(CROP, CROP), mode="bicubic")
        crops = torch.cat([whole, cut(canvas, grid)])
        padded = functional.pad(crops, (0, 0, 0, 0, 0, 0, 0, self.num_crops + 1 - len(crops)))
        return padded, (canvas.shape[1], canvas.shape[2])


class Phi3VProcessor:
    """The prompt's tokens around the pictures', which are negative."""

    def __init__(self) -> None:
        self.image_processor = Phi3VImageProcessor()
        self.tokenizer = tokenizer()
        self.tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
        self.batch_decode = self.tokenizer.batch_decode

    def __call__(self, text: str, images: Any, return_tensors: str = "pt") -> BatchFeature:
        """Inputs of `generate`."""
        given = self.image_processor(images, return_tensors=return_tensors)
        (count,) = given.pop("num_img_tokens")
        before, after = (self.tokenizer.encode(part) for part in text.split("<|image_1|>"))
        return BatchFeature({"input_ids": torch.tensor([[*before, *[-1] * count, *after]]), **given})


def answer(model: Phi3VForCausalLM, picture: Any) -> None:
    """As a wrapper does."""
    model.generate(**Phi3VProcessor()(text="<|image_1|>\nWhat is this?", images=[picture]))
