"""Models that have no connector to measure, with the sentence that says why."""

from __future__ import annotations

from typing import Any

from connector_bench.connectors.base import UnsupportedModel

_CROSS_ATTENTION = (
    "lets its language model attend to the image in cross-attention layers instead of receiving tokens"
)
_DISCRETE = (
    "turns the picture into discrete codes of a vocabulary, so there is no connector between two encoders"
)
_TWO_ENCODERS = (
    "compares one vector of a picture with one of a text, so no tokens of the picture go to a language model"
)
_REGIONS = "marks the regions of a picture that a prompt points at, so no tokens go to a language model"
_NO_TOWER = "feeds raw patches to the language model, so there is no vision tower before the connector"
_PATCH_BY_PATCH = (
    "turns each patch of pixels by itself into a token, so there is no vision tower before the connector"
)

REASONS: dict[str, str] = {
    "mllama": _CROSS_ATTENTION,
    "flamingo": _CROSS_ATTENTION,
    "idefics": _CROSS_ATTENTION,
    "chameleon": _DISCRETE,
    "emu3": _DISCRETE,
    "fuyu": _NO_TOWER,
    "gemma4_unified": _NO_TOWER,
    "blip": _CROSS_ATTENTION,
    **dict.fromkeys(
        ("aimv2", "align", "altclip", "chinese_clip", "clip", "clipseg", "flava", "groupvit", "metaclip_2"),
        _TWO_ENCODERS,
    ),
    **dict.fromkeys(
        ("owlv2", "owlvit", "siglip", "siglip2", "tipsv2", "vision-text-dual-encoder"), _TWO_ENCODERS
    ),
    **dict.fromkeys(
        ("edgetam", "edgetam_video", "sam2", "sam2_video", "sam3_tracker", "sam3_tracker_video"), _REGIONS
    ),
    "neomme": _NO_TOWER,
    "inkling_mm_model": _PATCH_BY_PATCH,
    "glm_image": _DISCRETE,
}
"""By `model_type`."""

WITHOUT_LANGUAGE_MODEL = frozenset(
    kind for kind, reason in REASONS.items() if reason in (_TWO_ENCODERS, _REGIONS)
)
"""Those of them that hand no tokens to any language model."""


def refuse(config: Any) -> None:
    """Raise the sentence for a `model_type` that is known to have no connector.

    Raises:
        UnsupportedModel: naming the type and the reason; also for a config without any vision part.
    """
    model_type = getattr(config, "model_type", "")
    if model_type in REASONS:
        raise UnsupportedModel(f"A {model_type} model {REASONS[model_type]}; it has no connector to measure.")
