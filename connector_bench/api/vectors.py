"""Arrays, tensors and lists of any precision and device, as one vector or one set of tokens an image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from connector_bench.types import means_by_image, slices

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = object


def vectors(given: Any, name: str) -> Float[np.ndarray, "n d"]:
    """One vector an image: those that were given, or the means of tokens, in float64 and rounded to float32.

    `given` is an array or tensor `[images, width]` or `[images, tokens, width]`, or a list of vectors or of `[tokens,
    width]`, also of unequal length.

    Raises:
        ValueError: naming what arrived where it is none of these, or images have different widths.
    """
    listed = None if _is_array(given) else _as_list(given, name)
    if listed is None and given.ndim == 2:
        return _numbers(_require_numbers(np.asarray(given) if hasattr(given, "iloc") else given, name))
    if listed is not None and listed and all(one.ndim == 1 for one in listed):
        return np.stack([_numbers(one) for one in _same_width(listed, name)])
    import torch

    tokens = per_image(given if listed is None else listed, name)
    rows = slices([len(one) for one in tokens])
    return means_by_image(torch.cat(tokens), rows).float().numpy()


def per_image(given: Any, name: str) -> list[Float[Tensor, "tokens d"]]:
    """One set of tokens an image, detached, on the CPU, in their own precision.

    Raises:
        ValueError: naming what arrived where it is neither `[images, tokens, width]` nor a list of `[tokens, width]`;
            images of different widths, or without tokens, and NaN or infinity.
    """
    import torch

    if _is_array(given):
        if given.ndim != 3:
            raise ValueError(
                f"{name} is {list(given.shape)}; allowed are [images, tokens, width] and a list of [tokens, width]"
            )
        listed = list(tensor_of(_require_numbers(given, name)))
    else:
        listed = [tensor_of(one) for one in _as_list(given, name)]
    if wrong := [tuple(one.shape) for one in listed if one.ndim != 2 or not one.numel()]:
        raise ValueError(f"an image of {name} is {list(wrong[0])}; [tokens, width] is needed")
    if bad := [number for number, one in enumerate(listed) if not torch.isfinite(one).all()]:
        raise ValueError(
            f"{len(bad)} of {len(listed)} images of {name} hold NaN or infinity, the first is {bad[0]}"
        )
    if not listed:
        raise ValueError(f"{name} holds no image")
    return _same_width(listed, name)


def _same_width(listed: list[Any], name: str) -> list[Any]:
    widths = {int(one.shape[-1]) for one in listed}
    if len(widths) > 1:
        raise ValueError(f"images of {name} have different widths: {sorted(widths)}")
    return listed


def _as_list(given: Any, name: str) -> list[Any]:
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes, dict)):
        raise ValueError(
            f"{name} is {type(given).__name__}; allowed are arrays and tensors, and lists of one for each image"
        )
    return [_require_numbers(one if _is_array(one) else np.asarray(one), name) for one in given]


def _require_numbers(value: Any, name: str) -> Any:
    """The array or tensor itself. ValueError where it holds no real numbers."""
    said = str(value.dtype)
    if said.startswith(("complex", "torch.complex", "object", "<U", "|S", "datetime")):
        raise ValueError(f"{name} holds {said.removeprefix('torch.')}; real numbers are needed")
    return value


def _is_array(value: Any) -> bool:
    return hasattr(value, "ndim") and hasattr(value, "shape")


def tensor_of(value: Any) -> Tensor:
    """An array or tensor as a tensor of floating numbers on the CPU, detached."""
    import torch

    tensor: Any = value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))
    tensor = tensor.detach().to("cpu")
    return tensor if tensor.is_floating_point() else tensor.float()


def _numbers(value: Any) -> np.ndarray:
    """A numpy array as it is, a tensor as one: half precisions, which numpy lacks in part, as float32."""
    import torch

    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    tensor = value.detach().to("cpu")
    return (
        tensor if tensor.dtype == torch.float64 or not tensor.is_floating_point() else tensor.float()
    ).numpy()
