"""`MiniCPMV` 2.0, whose resampler is called for each slice, and 2.6, where all slices pass it together, padded."""

from __future__ import annotations

import math
from typing import Any

import torch
import transformers as hf
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torchvision.transforms.functional import normalize, to_tensor

from tests.tiny_vlms.parts import PATCH, TEXT, VISION, decoder, tokenizer

SCALE, MOST, QUERIES = 112, 9, 4
"""Pixels a side that a slice has room for, the most slices, and queries a slice."""
Size = tuple[int, int]


def fitting(size: Size, upscale: bool) -> Size:
    """Width and height in whole patches, of an area that a slice has room for."""
    width, height = size
    if upscale or width * height > SCALE**2:
        ratio = width / height
        height = int(SCALE / math.sqrt(ratio))
        width = int(height * ratio)
    return max(round(width / PATCH) * PATCH, PATCH), max(round(height / PATCH) * PATCH, PATCH)


def slices_of(image: Image.Image) -> list[Image.Image]:
    """The whole picture, then slices row by row where it is larger than one."""
    ratio = math.log(image.width / image.height)
    multiple = min(math.ceil(image.width * image.height / SCALE**2), MOST)
    if multiple <= 1:
        return [image.resize(fitting(image.size, upscale=True))]
    counts = [n for n in (multiple - 1, multiple, multiple + 1) if n != 1 and n <= MOST]
    grids = [(m, n // m) for n in counts for m in range(1, n + 1) if n % m == 0]
    columns, rows = min(grids, key=lambda grid: abs(ratio - math.log(grid[0] / grid[1])))
    whole = [max(round(a / n) * n, n) for a, n in zip(image.size, (columns, rows), strict=True)]
    width, height = fitting((whole[0] / columns, whole[1] / rows), upscale=True)  # type: ignore[arg-type]
    refined = image.resize((width * columns, height * rows))
    corners = [(c * width, r * height) for r in range(rows) for c in range(columns)]
    cut = [refined.crop((left, top, left + width, top + height)) for left, top in corners]
    return [image.resize(fitting(image.size, upscale=False)), *cut]


def pixels_of(image: Image.Image) -> torch.Tensor:
    return normalize(to_tensor(image), [0.5] * 3, [0.5] * 3)


def positions(size: Size) -> torch.Tensor:
    """Sines and cosines of rows and columns, `[patches, width]`."""
    rows, columns = torch.meshgrid(*(torch.arange(n).float() for n in size), indexing="ij")
    waves = 10000 ** -(torch.arange(TEXT // 4) / (TEXT // 4))
    angles = [axis.reshape(-1, 1) * waves for axis in (columns, rows)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


class Resampler(nn.Module):
    """Learnt queries that attend to patches with their two-dimensional positions."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(QUERIES, TEXT))
        self.kv_proj = nn.Linear(VISION, TEXT, bias=False)
        self.attn = nn.MultiheadAttention(TEXT, 4, batch_first=True)
        self.ln_q, self.ln_kv, self.ln_post = (nn.LayerNorm(TEXT) for _ in range(3))
        self.proj = nn.Parameter(torch.randn(TEXT, TEXT) / TEXT**0.5)

    def forward(self, x: torch.Tensor, tgt_sizes: Any) -> torch.Tensor:
        pairs = tgt_sizes.tolist() if isinstance(tgt_sizes, torch.Tensor) else [tgt_sizes] * len(x)
        places = pad_sequence([positions(pair).to(x) for pair in pairs], batch_first=True)
        counts = torch.tensor([math.prod(pair) for pair in pairs], device=x.device)
        empty = torch.arange(x.shape[1], device=x.device) >= counts[:, None]
        x = self.ln_kv(self.kv_proj(x))
        query = self.ln_q(self.query).expand(len(x), -1, -1)
        read, _ = self.attn(query, x + places, x, key_padding_mask=empty)
        return self.ln_post(read) @ self.proj


class MiniCPMVConfig(hf.PretrainedConfig):
    model_type = "minicpmv"


class _MiniCPMV(hf.PreTrainedModel):
    """What both versions share: placeholders of the prompt are filled, the language model generates."""

    config_class = MiniCPMVConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.llm = hf.Qwen2ForCausalLM(hf.Qwen2Config(**decoder()))
        self.resampler = Resampler()

    def _prompt(self, tokenizer: Any, text: str, slices: int) -> torch.Tensor:
        held = "<image>" + "<unk>" * QUERIES + "</image>"
        return tokenizer(held * slices + text, return_tensors="pt").input_ids

    def _answer(self, ids: torch.Tensor, features: torch.Tensor, **settings: Any) -> torch.Tensor:
        embeddings = self.llm.get_input_embeddings()(ids)
        embeddings[ids == 3] = features.reshape(-1, TEXT)
        return self.llm.generate(inputs_embeds=embeddings, pad_token_id=0, **settings)


class MiniCPMV2(_MiniCPMV):
    """2.0: slices pass tower and resampler one by one."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.vpm = VisionTransformer(
            img_size=SCALE,
            patch_size=PATCH,
            embed_dim=VISION,
            depth=2,
            num_heads=4,
            class_token=False,
            global_pool="",
            num_classes=0,
            dynamic_img_size=True,
        )
        self.post_init()

    def get_vision_embedding(self, pixel_values: list[torch.Tensor]) -> torch.Tensor:
        found = []
        for pixels in pixel_values:
            size = math.ceil(pixels.shape[-2] / PATCH), math.ceil(pixels.shape[-1] / PATCH)
            found.append(self.resampler(self.vpm.forward_features(pixels[None].type(self.dtype)), size))
        return torch.vstack(found)

    def get_vllm_embedding(self, data: dict[str, Any]) -> torch.Tensor:
        return self.get_vision_embedding(data["pixel_values"])

    @torch.no_grad()
    def generate(self, data_list: Any, img_list: Any, tokenizer: Any, **settings: Any) -> Any:
        (images,) = img_list
        features = self.get_vllm_embedding({"pixel_values": [pixels_of(image) for image in images]})
        made = self._answer(data_list, features, **settings)
        return tokenizer.batch_decode(made), features

    def chat(
        self,
        image: Image.Image,
        msgs: list[dict[str, str]],
        context: Any,
        tokenizer: Any,
        max_new_tokens: int = 1024,
        sampling: bool = True,
        **more: Any,
    ) -> tuple[str, Any, Any]:
        images = slices_of(image)
        ids = self._prompt(tokenizer, msgs[0]["content"], len(images))
        settings = {"max_new_tokens": max_new_tokens, "do_sample": sampling}
        (answer,), _ = self.generate(data_list=ids, img_list=[images], tokenizer=tokenizer, **settings)
        return answer, [*msgs, {"role": "assistant", "content": answer}], settings


class PackedTower(nn.Module):
    """Pictures as strips of patches, `[pictures, 3, patch, patches * patch]`, padded at their ends."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(3, VISION, PATCH, PATCH)
        self.position_embedding = nn.Embedding(64 * 64, VISION)
        layer = nn.TransformerEncoderLayer(VISION, 4, 64, dropout=0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(
        self, pixels: torch.Tensor, patch_attention_mask: torch.Tensor, tgt_sizes: Any
    ) -> torch.Tensor:
        x = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        for number, (rows, columns) in enumerate(tgt_sizes.tolist()):
            ids = torch.arange(rows)[:, None] * 64 + torch.arange(columns)
            x[number, : rows * columns] += self.position_embedding(ids.reshape(-1))
        return self.encoder(x, src_key_padding_mask=~patch_attention_mask[:, 0])


class MiniCPMV26(_MiniCPMV):
    """2.6: all slices pass together; `chat` returns the answer alone and takes the picture among the messages."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.vpm = PackedTower()
        self.post_init()

    def get_vllm_embedding(self, data: dict[str, Any]) -> torch.Tensor:
        sizes = data["tgt_sizes"]
        counts = sizes.prod(dim=1)
        strips = [strip.permute(2, 0, 1) for strip in data["pixel_values"]]
        pixels = pad_sequence(strips, batch_first=True).permute(0, 2, 3, 1)
        real = torch.arange(int(counts.max())) < counts[:, None]
        return self.resampler(self.vpm(pixels, real[:, None], sizes), sizes)

    @torch.no_grad()
    def generate(self, input_ids: Any, pixel_values: Any, tgt_sizes: Any, tokenizer: Any, **more: Any) -> Any:
        features = self.get_vllm_embedding({"pixel_values": pixel_values, "tgt_sizes": tgt_sizes})
        made = self._answer(input_ids, features, **more)
        return tokenizer.batch_decode(made), features

    def chat(
        self,
        msgs: list[dict[str, Any]],
        tokenizer: Any,
        image: Any = None,
        sampling: bool = True,
        max_new_tokens: int = 2048,
    ) -> str:
        picture, text = msgs[0]["content"]
        pixels = [pixels_of(one) for one in slices_of(picture)]
        sizes = torch.tensor([[one.shape[1] // PATCH, one.shape[2] // PATCH] for one in pixels])
        strips = [
            one.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH).flatten(1, 2).transpose(1, 2).flatten(2)
            for one in pixels
        ]
        ids = self._prompt(tokenizer, text, len(pixels))
        settings = {"max_new_tokens": max_new_tokens, "do_sample": sampling}
        (answer,), _ = self.generate(
            input_ids=ids, pixel_values=strips, tgt_sizes=sizes, tokenizer=tokenizer, **settings
        )
        return answer


def build_2_0() -> tuple[Any, Any]:
    """The model and its tokenizer."""
    return MiniCPMV2(MiniCPMVConfig()), tokenizer("<image>", "</image>")


def build_2_6() -> tuple[Any, Any]:
    """The model and its tokenizer."""
    return MiniCPMV26(MiniCPMVConfig()), tokenizer("<image>", "</image>")
