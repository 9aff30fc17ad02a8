"""What stand-ins of models with remote code share: weights, a language model, a wrapper that feeds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel, SiglipVisionConfig, SiglipVisionModel

from tests.tiny_vlms.building import redraw

VISION, TEXT, PATCH = 32, 48, 14
VOCABULARY = 64


def language_model() -> LlamaModel:
    """A small decoder, of which only the embeddings that it is given are looked at."""
    return LlamaModel(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=TEXT,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=4,
        )
    )


def siglip(pixels: int) -> SiglipVisionModel:
    """A small tower for square tiles of so many pixels."""
    return SiglipVisionModel(siglip_config(pixels))


def siglip_config(pixels: int) -> SiglipVisionConfig:
    """Its configuration."""
    return SiglipVisionConfig(
        hidden_size=VISION,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=pixels,
        patch_size=PATCH,
        vision_use_head=False,
    )


def drawn(build: Callable[[], nn.Module]) -> Any:
    """The model in evaluation mode, its weights drawn so that pictures and places differ; torch's state is kept."""
    state = torch.get_rng_state()
    torch.manual_seed(0)
    model = build()
    redraw(model)
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and "embed" in name.rpartition(".")[2]:
                module.weight *= module.in_features**-0.5  # a map, though its name is that of vectors in rows
    torch.set_rng_state(state)
    return model.eval()


class Wrapper:
    """A user's wrapper of lmms-eval: its own preprocessing, then the model's own way to answer."""

    is_simple = True

    def __init__(self, model: Any, answer: Callable[[Any, Any], None]) -> None:
        self._model, self._answer, self.task_dict, self.cache_hook = model, answer, {}, None

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Answer each request about its picture."""
        for request in requests:
            _, _, doc_to_visual, doc_id, task, split = request.args
            (picture,) = doc_to_visual(self.task_dict[task][split][doc_id])
            self._answer(self._model, picture)
        return [""] * len(requests)


def embeddings_of(model: Any, decoder: nn.Module, wrapper: Wrapper, picture: Any) -> Tensor:
    """What the decoder is given when the wrapper answers about a picture: its embeddings, one row a token."""
    seen: list[Tensor] = []

    def before(module: nn.Module, args: tuple[Any, ...], given: Mapping[str, Any]) -> None:
        seen.append(given["inputs_embeds"][0])

    handle = decoder.register_forward_pre_hook(before, with_kwargs=True)
    try:
        with torch.inference_mode():
            wrapper._answer(model, picture)
    finally:
        handle.remove()
    return seen[0].float()


def as_pixels(picture: Any, size: tuple[int, int]) -> Tensor:
    """A picture resized to height x width, `[3, height, width]` in -1..1."""
    import numpy as np
    from PIL import Image

    resized = picture.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 127.5 - 1


def cut(pixels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Pixels in rows x columns equal tiles, row by row."""
    rows, columns = grid
    lines = pixels.chunk(rows, dim=1)
    return torch.stack([tile for line in lines for tile in line.chunk(columns, dim=2)])
