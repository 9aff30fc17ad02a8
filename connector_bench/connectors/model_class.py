"""The class of transformers that loads a checkpoint."""

from __future__ import annotations

from typing import Any

from connector_bench.connectors.base import UnsupportedModel
from connector_bench.connectors.registry import declared_families
from connector_bench.foreign_files import first_line


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


def config_of_checkpoint(checkpoint: str, **at: str) -> Any:
    """The checkpoint's configuration, by transformers' own code; nobody is asked whether other code may run.

    Raises:
        UnsupportedModel: it is made by code that lies in the checkpoint.
        ValueError: it is none that transformers knows.
        OSError: there is none.
    """
    import transformers

    try:
        return transformers.AutoConfig.from_pretrained(checkpoint, trust_remote_code=False, **at)
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise UnsupportedModel(
            "its code lies in the checkpoint and is not run here; the wrapper of lmms-eval that loads such a model "
            "runs it, and our tasks measure it there (docs/FAMILIES.md)"
        ) from None


def processor_of_checkpoint(checkpoint: str, **at: str) -> Any:
    """The checkpoint's own processor.

    Raises:
        ValueError: it cannot be loaded, such as without its tokenizer.
        OSError: there is none.
    """
    import transformers

    try:
        return transformers.AutoProcessor.from_pretrained(checkpoint, trust_remote_code=False, **at)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"its processor cannot be loaded ({type(error).__name__}: {first_line(error)})"
        ) from error
