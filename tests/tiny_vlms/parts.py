"""What the configurations share: tokenizer, chat template, settings of towers and language models."""

from __future__ import annotations

from typing import Any

import transformers as hf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

VISION, TEXT, PATCH = 32, 48, 14
Built = tuple[Any, Any]
MAJOR = int(hf.__version__.split(".")[0])


def tokenizer(*plain: str, kind: str = "PreTrained", cls_sep: bool = False, **named: str) -> Any:
    """A byte-level tokenizer with special tokens; `named` ones become attributes such as `image_token`.

    `kind` is the family's own, which processors insist on before transformers 5.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *alphabet])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    if cls_sep:
        raw.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    made = getattr(hf, f"{kind if MAJOR < 5 else 'PreTrained'}TokenizerFast")(
        tokenizer_object=raw,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="left",
        extra_special_tokens=dict(named),
        model_input_names=["input_ids", "attention_mask"],
    )
    extra = [AddedToken(token, special=True, normalized=False) for token in (*plain, *named.values())]
    made.add_tokens(extra, special_tokens=True)
    return made


def template(image: str) -> str:
    """A chat template that writes `image` for every picture."""
    return (
        "{% for m in messages %}{{ m['role'].upper() }}: "
        "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
        "{% if c['type'] == 'image' or 'image' in c or 'image_url' in c %}"
        + image
        + "{% elif 'text' in c %}{{ c['text'] }}"
        "{% endif %}{% endfor %}{% endif %}\n{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    )


def encoder(image_size: Any = 56, **more: Any) -> dict[str, Any]:
    """Settings that nearly every vision tower shares."""
    common = {
        "hidden_size": VISION,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    }
    return {**common, "image_size": image_size, "patch_size": PATCH, **more}


def decoder(vocabulary: int = 320, **more: Any) -> dict[str, Any]:
    """Settings that nearly every language model shares."""
    return {
        "vocab_size": vocabulary,
        "hidden_size": TEXT,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        **more,
    }


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def token_id(tok: Any, token: str) -> int:
    return int(tok.convert_tokens_to_ids(token))


def clip() -> Any:
    return hf.CLIPVisionConfig(**encoder(projection_dim=VISION))


def siglip(**more: Any) -> Any:
    return hf.SiglipVisionConfig(**encoder(vision_use_head=False, **more))


def image_processor(family: str, **settings: Any) -> Any:
    """A family's image processor, which older transformers has under its `Fast` name alone."""
    name = f"{family}ImageProcessor"
    return getattr(hf, name if hasattr(hf, name) else f"{name}Fast")(**settings)


def tiling_images() -> Any:
    return hf.GotOcr2ImageProcessor(size=square(56), crop_to_patches=True, min_patches=1, max_patches=4)
