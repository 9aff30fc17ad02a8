"""Calling what a user gave: a processor its own way, an encoder with what it takes, and which part failed on what."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.capture import out_of_memory
from connector_bench.number_style import counted
from connector_bench.pictures import reason

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

PIXELS = "pixel_values"
"""What processors of transformers call a picture's values."""


@contextmanager
def failing(whose: str, given: Any) -> Iterator[None]:
    """ValueError naming the part, what it was given, and its error; memory that ran out stays what it is."""
    try:
        yield
    except Exception as error:  # modules raise whatever they like
        if out_of_memory(error):
            raise
        raise ValueError(f"the {whose} failed on {_said(given)}: {reason(error)}") from error


def _said(given: Any) -> str:
    if isinstance(given, Mapping):
        return ", ".join(f"{name} {_said(value)}" for name, value in given.items())
    if hasattr(given, "shape"):
        return str(list(given.shape))
    if isinstance(given, list):
        return f"a list of {counted(len(given), 'picture')}, which is what it gets without a processor="
    return type(given).__name__


def processed(processor: Any, pictures: list[Image]) -> Any:
    """What the processor makes of pictures, called its own way."""
    import torch

    if processor is None:
        return pictures
    if is_transformers(processor):
        return dict(getattr(processor, "image_processor", processor)(images=pictures, return_tensors="pt"))
    if is_torchvision(processor):
        return torch.stack([processor(picture) for picture in pictures])
    return processor(pictures)


def called(encoder: Any, inputs: Any) -> Any:
    """The encoder on its input: of several named parts, those that it takes, or the pixels where it names none."""
    if not isinstance(inputs, Mapping):
        return encoder(inputs)
    taken = inspect.signature(encoder.forward if is_module(encoder) else encoder).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values()):
        return encoder(**inputs)
    named = {name: value for name, value in inputs.items() if name in taken}
    return encoder(**named) if named else encoder(inputs.get(PIXELS, next(iter(inputs.values()))))


def moved(inputs: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """The encoder's input on its device, floating numbers in its precision."""
    import torch

    if isinstance(inputs, torch.Tensor):
        return inputs.to(device, dtype) if inputs.is_floating_point() else inputs.to(device)
    if isinstance(inputs, Mapping):
        return {name: moved(value, device, dtype) for name, value in inputs.items()}
    return inputs


def is_module(part: Any) -> bool:
    """Whether it is a module of torch."""
    import torch

    return isinstance(part, torch.nn.Module)


def is_transformers(processor: Any) -> bool:
    """Whether it is a processor or image processor of transformers."""
    half = getattr(processor, "image_processor", processor)
    ours = any(kind.__module__.startswith("transformers.") for kind in type(half).__mro__)
    return ours and callable(getattr(half, "preprocess", None))


def is_torchvision(processor: Any) -> bool:
    """Whether it is one of torchvision's transforms."""
    return type(processor).__module__.startswith("torchvision.transforms")
