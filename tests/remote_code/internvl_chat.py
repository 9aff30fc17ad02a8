"""`InternVLChatModel`: tower, pixel shuffle, `mlp1`; `chat` writes placeholders, `generate` fills them."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf
from torch import nn

from tests.tiny_vlms.parts import TEXT, VISION, decoder, encoder, tokenizer

PATCH = 56
"""A tile of 448 pixels, which the wrappers cut, has 8 x 8 patches."""


class InternVLChatConfig(hf.PretrainedConfig):
    model_type = "internvl_chat"

    def __init__(self, ps_version: str = "v2", select_layer: int = -1, **more: Any) -> None:
        super().__init__(**more)
        self.ps_version, self.select_layer, self.downsample_ratio = ps_version, select_layer, 0.5


class InternVLChatModel(hf.PreTrainedModel):
    config_class = InternVLChatConfig

    def __init__(self, config: InternVLChatConfig) -> None:
        super().__init__(config)
        tower = encoder(448, projection_dim=VISION) | {"patch_size": PATCH}
        self.vision_model = hf.CLIPVisionModel(hf.CLIPVisionConfig(**tower))
        self.language_model = hf.Qwen2ForCausalLM(hf.Qwen2Config(**decoder()))
        folded = round(1 / config.downsample_ratio) ** 2
        self.num_image_token = (448 // PATCH) ** 2 // folded
        self.mlp1 = nn.Sequential(
            nn.LayerNorm(VISION * folded), nn.Linear(VISION * folded, TEXT), nn.GELU(), nn.Linear(TEXT, TEXT)
        )
        self.img_context_token_id: int | None = None
        self.post_init()

    def pixel_shuffle(self, x: torch.Tensor, scale_factor: float) -> torch.Tensor:
        """Neighbours along one axis are folded into channels, then along the other; the axes end up swapped in v1."""
        tiles, first, second, width = x.shape
        x = x.view(tiles, first, int(second * scale_factor), int(width / scale_factor))
        x = x.permute(0, 2, 1, 3).contiguous()
        folded = int(first * scale_factor), int(width / scale_factor**2)
        x = x.view(tiles, int(second * scale_factor), *folded)
        return x if self.config.ps_version == "v1" else x.permute(0, 2, 1, 3).contiguous()

    def extract_feature(self, pixel_values: torch.Tensor) -> torch.Tensor:
        layers = self.vision_model(pixel_values, output_hidden_states=True)
        last = self.config.select_layer == -1
        x = layers.last_hidden_state if last else layers.hidden_states[self.config.select_layer]
        x = x[:, 1:]
        side = int(x.shape[1] ** 0.5)
        x = self.pixel_shuffle(x.reshape(len(x), side, side, -1), self.config.downsample_ratio)
        return self.mlp1(x.reshape(len(x), -1, x.shape[-1]))

    @torch.no_grad()
    def generate(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        **settings: Any,
    ) -> torch.Tensor:
        features = self.extract_feature(pixel_values)
        embeddings = self.language_model.get_input_embeddings()(input_ids)
        embeddings[input_ids == self.img_context_token_id] = features.reshape(-1, features.shape[-1])
        return self.language_model.generate(
            inputs_embeds=embeddings, attention_mask=attention_mask, pad_token_id=0, **settings
        )

    def chat(
        self,
        tokenizer: Any,
        pixel_values: torch.Tensor,
        question: str,
        generation_config: dict[str, Any],
        history: Any = None,
        return_history: bool = False,
        num_patches_list: list[int] | None = None,
    ) -> Any:
        self.img_context_token_id = tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
        for count in num_patches_list or [len(pixel_values)]:
            places = "<img>" + "<IMG_CONTEXT>" * self.num_image_token * count + "</img>"
            question = question.replace("<image>", places, 1)
        given = tokenizer(question, return_tensors="pt").to(pixel_values.device)
        made = self.generate(
            pixel_values=pixel_values,
            input_ids=given["input_ids"],
            attention_mask=given["attention_mask"],
            **generation_config,
        )
        response = tokenizer.batch_decode(made, skip_special_tokens=True)[0]
        return (response, [(question, response)]) if return_history else response


def build(**settings: Any) -> tuple[Any, Any]:
    """The model and its tokenizer."""
    model = InternVLChatModel(InternVLChatConfig(**settings))
    return model, tokenizer("<image>", "<img>", "</img>", "<IMG_CONTEXT>")
