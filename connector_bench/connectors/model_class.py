"""The class of transformers that loads a checkpoint."""

from __future__ import annotations

from typing import Any

from connector_bench.connectors.registry import declared_families


def model_class(config: Any) -> Any:
    """The automatic class for models that read images and write text, or the class that the checkpoint names.

    The latter is for declared families that the automatic class does not know, such as Qwen2.5-Omni and Phi-4.
    """
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    automatic = transformers.AutoModelForImageTextToText
    declared = any(config.model_type in family.model_types for family in declared_families())
    if not declared or type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return automatic
    named = (getattr(transformers, name, None) for name in config.architectures or ())
    return next((kind for kind in named if getattr(kind, "config_class", None) is type(config)), automatic)


def processor_of_checkpoint(checkpoint: str, **at: str) -> Any:
    """The checkpoint's own processor.

    Raises:
        ValueError: it cannot be loaded, such as without its tokenizer.
        OSError: there is none.
    """
    import transformers

    try:
        return transformers.AutoProcessor.from_pretrained(checkpoint, **at)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"its processor cannot be loaded ({type(error).__name__}: {reason:.300})") from error
