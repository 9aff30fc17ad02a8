"""Finding modules of a model by path, and describing them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.base import UnsupportedModel

if TYPE_CHECKING:
    from torch import nn


def unwrapped(model: Any) -> Any:
    """The model itself, out of the wrappers that data-parallel training puts around it."""
    while type(model).__name__ in {"DistributedDataParallel", "DataParallel", "FullyShardedDataParallel"}:
        model = model.module
    return model


def find(model: nn.Module, path: str) -> nn.Module:
    """The submodule at a dotted path, with or without the leading `model.` (base classes lack it).

    Raises:
        UnsupportedModel: naming the path and the children that the model has.
    """
    for candidate in (path, path.removeprefix("model."), f"model.{path}"):
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


def named_tensors(modules: Sequence[nn.Module]) -> Iterator[tuple[str, Any]]:
    """Parameters and buffers of several modules, each tensor once, under stable names."""
    seen: set[int] = set()
    for index, module in enumerate(modules):
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield f"{index}.{name}", tensor


def count_parameters(modules: Sequence[nn.Module]) -> int:
    """Number of distinct parameters in the modules."""
    return sum({id(p): p.numel() for module in modules for p in module.parameters()}.values())


def weights_sha256(modules: Sequence[nn.Module]) -> str:
    """SHA-256 of the modules' tensors: name, dtype, shape and bytes, in a fixed order."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(named_tensors(modules), key=lambda item: item[0]):
        if tensor.is_meta:
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    return digest.hexdigest()
