"""Finding modules of a model by path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector_bench.connectors.base import UnsupportedModel

if TYPE_CHECKING:
    from torch import nn


def find(model: nn.Module, path: str) -> nn.Module:
    """The submodule at a dotted path, with or without its `model.` (base classes lack it, and older parts of a whole).

    Raises:
        UnsupportedModel: naming the path and the children that the model has.
    """
    for candidate in (path, path.removeprefix("model."), f"model.{path}", path.replace(".model.", ".")):
        try:
            return model.get_submodule(candidate)
        except AttributeError:
            continue
    children = ", ".join(name for name, _ in model.named_children())
    raise UnsupportedModel(f"{type(model).__name__} has no module {path!r}; its children are {children}.")


def expand(model: nn.Module, pattern: str) -> list[str]:
    """Paths that a pattern ending in `.*` stands for: one a child; none where the list is absent."""
    if not pattern.endswith(".*"):
        return [pattern]
    try:
        parent = find(model, pattern[:-2])
    except UnsupportedModel:
        return []
    return [f"{pattern[:-2]}.{name}" for name, _ in parent.named_children()]
