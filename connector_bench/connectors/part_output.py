"""Tokens out of what a bare encoder or connector gave: a tensor, a list, or one among several values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

HIDDEN, POOLED = "last_hidden_state", "pooler_output"
"""As transformers names a tower's tokens, and, of some models, those behind the connector."""
NEEDED = "[batch, tokens, width] is needed"
HINTS = {
    2: "; where that is one token a picture, [:, None] makes it",
    4: "; .flatten(2).transpose(1, 2) makes tokens of a map",
}
"""By rank of a tensor that is none of tokens."""


def tokens_of(output: Any, whose: str, pictures: int) -> Tensor | list[Tensor]:
    """`[batch, n, d]`, or one `[n, d]` a picture where these came in a list.

    Of named values it is `last_hidden_state`, or `pooler_output` where there is none, else the only one of that shape;
    of a tuple it is the first value, or the only one of that shape.

    Raises:
        ValueError: naming what the part gave, where that holds no such tensor, or several of which none is the one.
    """
    import torch

    tokens: Any = _listed(output, pictures)
    if tokens is None:
        found = _chosen(output, whose, pictures)
        if not isinstance(found, torch.Tensor):
            array = isinstance(found, np.ndarray) or _arrays(output)
            hint = " as a tensor of torch, not an array: torch.from_numpy makes one" if array else ""
            raise ValueError(f"the {whose} gave {_said(output)}; {NEEDED}{hint}")
        if found.ndim != 3:
            hint = HINTS.get(found.ndim, "")
            raise ValueError(f"the {whose} gave {list(found.shape)}; {NEEDED}{hint}")
        if len(found) != pictures:
            raise ValueError(
                f"the {whose} gave tokens of {len(found)} pictures for {pictures}; it must keep pictures apart"
            )
        tokens = found
    each: list[Tensor] = tokens if isinstance(tokens, list) else [tokens]
    if wrong := [one for one in each if not one.is_floating_point()]:
        raise ValueError(f"the {whose} gave {_kind(wrong[0])}; tokens are floating numbers")
    if empty := [list(one.shape) for one in each if not one.numel()]:
        raise ValueError(f"the {whose} gave no token: {empty[0]}")
    return tokens


def _listed(output: Any, pictures: int) -> list[Tensor] | None:
    """One `[n, d]` a picture, where a list or tuple holds that."""
    if not isinstance(output, (list, tuple)) or len(output) != pictures:
        return None
    import torch

    return list(output) if all(isinstance(one, torch.Tensor) and one.ndim == 2 for one in output) else None


def _arrays(output: Any) -> bool:
    return isinstance(output, (list, tuple)) and any(isinstance(one, np.ndarray) for one in output)


def _chosen(output: Any, whose: str, pictures: int) -> Any:
    named = _named(output)
    if named is not None:
        return _of_named(named, output, whose, pictures)
    if isinstance(output, (list, tuple)) and output and not _is_tokens(output[0], pictures):
        fitting = [one for one in output if _is_tokens(one, pictures)]
        return fitting[0] if len(fitting) == 1 else output[0]
    return output[0] if isinstance(output, (list, tuple)) and output else output


def _of_named(named: Mapping[str, Any], output: Any, whose: str, pictures: int) -> Any:
    hidden, pooled = named.get(HIDDEN), named.get(POOLED)
    if hidden is not None and not (whose == "connector" and _is_tokens(pooled, pictures)):
        return hidden
    if hidden is None and pooled is not None:
        return pooled
    fitting = [value for value in named.values() if _is_tokens(value, pictures)]
    if len(fitting) == 1:
        return fitting[0]
    which = (
        f", and {len(fitting)} of these could be its tokens; return that one alone"
        if fitting
        else f"; {NEEDED}"
    )
    raise ValueError(f"the {whose} gave {_said(output)}{which}")


def _named(output: Any) -> Mapping[str, Any] | None:
    """Values by name, of a mapping (transformers' outputs are some) or a dataclass."""
    if isinstance(output, Mapping):
        return {str(name): value for name, value in output.items()}
    if is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in fields(output)}
    if hasattr(output, HIDDEN):
        return {HIDDEN: getattr(output, HIDDEN), POOLED: getattr(output, POOLED, None)}
    return None


def _is_tokens(value: Any, pictures: int) -> bool:
    return getattr(value, "ndim", 0) == 3 and len(value) == pictures


def _said(output: Any) -> str:
    kind = type(output).__name__
    if isinstance(output, np.ndarray):
        return f"{kind} {list(output.shape)}"
    named = _named(output)
    if named is not None:
        held = [f"{name} {_shape(value)}" for name, value in named.items() if value is not None]
        return f"{kind} of {', '.join(held[:6])}" if held else f"an empty {kind}"
    if isinstance(output, Sequence) and not isinstance(output, (str, bytes)):
        return f"{kind} of {', '.join(map(_shape, output[:6]))}" if output else f"an empty {kind}"
    return kind


def _shape(value: Any) -> str:
    return str(list(value.shape)) if hasattr(value, "shape") else type(value).__name__


def _kind(tensor: Tensor) -> str:
    return "complex numbers" if tensor.is_complex() else "whole numbers"
