"""What lmms-eval's wrappers do to a picture before their processor sees it, one small entry a wrapper.

Read from lmms-eval 0.7.3; the wrapper object is duck-typed, lmms_eval is not imported. Tests hold the
features against those of the same wrapper's `generate_until`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.base import UnsupportedModel
from connector_bench.connectors.feeding import unchanged

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Preparation:
    """A wrapper's own step before its processor, and what it passes to the processor beside the pictures."""

    picture: Callable[[Image], Image] = unchanged
    options: Mapping[str, Any] = field(default_factory=dict)


def preparation_of(lm: Any) -> Preparation | None:
    """The preparation of a known wrapper; None for one unknown or with a `generate_until` of its own."""
    for kind in type(lm).__mro__:
        if kind.__name__ in PREPARATIONS and kind.__module__.startswith("lmms_eval."):
            return PREPARATIONS[kind.__name__](lm)
        if "generate_until" in vars(kind):
            return None
    return None


def model_of(lm: Any) -> Any:
    """The model that a wrapper holds.

    Raises:
        UnsupportedModel: the wrapper holds none, as those of API models.
    """
    for model in (getattr(lm, "_model", None), *(getattr(w, "model", None) for w in _workers(lm))):
        if hasattr(model, "named_modules"):
            return model
    raise UnsupportedModel(
        f"{type(lm).__name__} holds no model in this process (API models and inference servers do not), "
        "so there is no connector to measure."
    )


def processor_of(lm: Any) -> Any:
    """The processor that a wrapper holds, None where there is none."""
    for holder in (lm, *_workers(lm)):
        for name in ("processor", "_processor", "_image_processor", "image_processor"):
            processor = getattr(holder, name, None)
            if hasattr(processor, "image_processor") or hasattr(processor, "preprocess"):
                return processor
    return None


def name_of(lm: Any, model: Any) -> str:
    """Name under which results of this model are filed."""
    for name in (getattr(lm, "pretrained", None), getattr(lm, "path", None)):
        if isinstance(name, str) and name:
            return name
    return getattr(getattr(model, "config", None), "_name_or_path", "") or type(model).__name__


def _workers(lm: Any) -> list[Any]:
    return list(getattr(lm, "_workers", None) or [])


def _jpeg(wrapper: type, image: Image) -> Image:
    """The picture after the wrapper's own JPEG data URL, which nothing that an instance holds takes part in."""
    from PIL import Image as pillow

    bare: Any = object.__new__(wrapper)
    encoded = bare._encode_image_data_url(image).split("base64,", 1)[1]
    return pillow.open(BytesIO(base64.b64decode(encoded))).convert("RGB")


def _qwen_resize(image: Image, patch_size: int, **limits: int) -> Image:
    from qwen_vl_utils.vision_process import fetch_image

    return fetch_image({"image": image, **limits}, image_patch_size=patch_size)


def _jpeg_then_resize(wrapper: type, limits: dict[str, Any], image: Image) -> Image:
    return _qwen_resize(_jpeg(wrapper, image), patch_size=14, **limits)


def _limits(lm: Any) -> dict[str, Any]:
    return {"min_pixels": lm.min_pixels, "max_pixels": lm.max_pixels}


def _qwen_simple(lm: Any) -> Preparation:
    return Preparation(partial(_jpeg_then_resize, type(lm), _limits(lm)))


def _qwen2_5(lm: Any) -> Preparation:
    if lm.is_simple:
        return _qwen_simple(lm)
    return Preparation(partial(_qwen_resize, patch_size=14))


def _qwen3(lm: Any) -> Preparation:
    limits = _limits(lm) if lm.is_simple else {}
    return Preparation(partial(_qwen_resize, patch_size=16, **limits), {"do_resize": False})


def _internvl(lm: Any) -> Preparation:
    given = {"min_patches": lm.min_patches, "max_patches": lm.max_patches}
    return Preparation(options={name: value for name, value in given.items() if value is not None})


def _plain(lm: Any) -> Preparation:
    return Preparation()


def _videos_alone(lm: Any) -> Preparation:
    raise UnsupportedModel(
        f"lmms-eval's wrapper {type(lm).__name__} reads every visual as a video file and shows its model black frames "
        "instead of a picture, so nothing of the picture would be measured; a wrapper that hands pictures to "
        "`generate` can be measured."
    )


PREPARATIONS: dict[str, Callable[[Any], Preparation]] = {
    "LlavaHf": _plain,
    "Qwen2_VL": _qwen_simple,
    "Qwen2_5_VL": _qwen2_5,
    "Qwen3_VL": _qwen3,
    "InternVLHf": _internvl,
    "Idefics2": _plain,
    "InstructBLIP": _plain,
    "Gemma3": lambda lm: Preparation(partial(_jpeg, type(lm))),
    "Gemma4": lambda lm: Preparation(partial(_jpeg, type(lm)), {"max_soft_tokens": lm.max_soft_tokens}),
    "Mistral3_VL": _plain,
    "Huggingface": _plain,
    "AsyncHFModel": _plain,
    "VILA": _videos_alone,
}
