"""What a probe refuses before training begins: a whole training would go without its curve."""

from __future__ import annotations

from numbers import Integral
from pathlib import Path
from typing import Any

from connector_bench.connectors.execution import unwrapped
from connector_bench.connectors.registry import family_of, special_for
from connector_bench.training.tokens_of_probe import module_behind


def require_count(name: str, value: Any) -> None:
    """ValueError unless it is a whole number of at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is a whole number of at least 1, got {value!r}")


def require_folder(folder: Path) -> None:
    """ValueError where a file lies in the way."""
    there = next((one for one in (folder, *folder.absolute().parents) if one.exists()), None)
    if there is not None and not there.is_dir():
        raise ValueError(f"folder is {folder}, and {there} is a file")


def require_model(model: Any) -> bool:
    """Whether it is a bare pair. ValueError or TypeError for what is neither that nor a model that is known."""
    if isinstance(model, (tuple, list)):
        if len(model) != 2:
            raise ValueError(f"bare modules come as (encoder, connector), got {len(model)} parts")
        for part in model:
            module_behind(part)
        return True
    if model is not None and special_for(model) is None:
        inner = unwrapped(model)
        if getattr(inner, "config", None) is None:
            raise TypeError(
                f"model is {type(inner).__name__}; a transformers model or two modules (encoder, connector) are needed"
            )
        family_of(inner)
    return False
