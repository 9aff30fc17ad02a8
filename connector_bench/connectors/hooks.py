"""Forward hooks that record what enters and leaves a connector, and that never outlive their block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.execution import uncompiled
from connector_bench.connectors.untrained import BetweenModules, UntrainedCopy, UntrainedRun

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass
class Calls:
    """Tensors seen at one connector, one entry for each call of its modules."""

    pre: list[Tensor] = field(default_factory=list)
    post: list[Tensor] = field(default_factory=list)
    normed: list[Tensor] = field(default_factory=list)
    grids: list[Any] = field(default_factory=list)
    """What each call was told of rows and columns, None where it was told nothing."""
    untrained: list[list[Tensor]] = field(default_factory=list)
    """For each copy, its outputs on the same calls."""


@dataclass(frozen=True)
class Tapped:
    """Modules of one connector: where its input, its output and its leading norm's output are read."""

    modules: tuple[nn.Module, ...]
    """In the order they run."""
    norm: nn.Module | None = None
    pre_argument: str | int = 0
    grid_argument: int | None = None
    pre_output_of: nn.Module | None = None
    """A module of the tower whose output is *pre*, instead of the first module's input."""
    joined: bool = False
    """Whether all tensors that the module takes or returns are joined on the last dimension."""
    copies: tuple[UntrainedCopy, ...] = ()
    """Untrained copies that run beside the connector."""
    between_modules: BetweenModules | None = None


def first_tensor(value: Any) -> Tensor:
    """The tensor in a module's output: itself, `last_hidden_state`, `pooler_output`, or the first of a tuple."""
    if hasattr(value, "shape"):
        return value
    for name in ("last_hidden_state", "pooler_output"):
        if (found := getattr(value, name, None)) is not None:
            return found
    if isinstance(value, (tuple, list)) and value:
        return first_tensor(value[0])
    raise TypeError(
        f"the connector returned {type(value).__name__}; a tensor or a tuple of tensors is needed"
    )


def all_tensors(value: Any) -> Tensor:
    """Every tensor in a nested tuple or list, joined on the last dimension."""
    import torch

    if hasattr(value, "shape"):
        return value
    return torch.cat([all_tensors(part) for part in value], dim=-1)


def argument(where: str | int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The tensor that a module was given, by the argument's position or keyword. TypeError where it was given none."""
    if isinstance(where, str):
        if where not in kwargs:
            raise TypeError(f"the connector was called without {where!r}; it had {sorted(kwargs)}")
        return kwargs[where]
    if len(args) > where:
        return args[where]
    if len(kwargs) > where - len(args):
        return first_tensor(list(kwargs.values())[where - len(args)])
    raise TypeError(f"the connector was called with {len(args)} arguments; number {where} is needed")


@contextmanager
def recording(tapped: Sequence[Tapped]) -> Iterator[list[Calls]]:
    """Record every call of the given connectors while the block runs.

    The hooks go when the block ends, also by an exception or an interrupt. What is recorded is what the
    module saw, on its own device and in its own precision.
    """
    calls = [Calls() for _ in tapped]
    handles = []
    try:
        for connector, seen in zip(tapped, calls, strict=True):
            handles += _attach(connector, seen)
        with uncompiled():
            yield calls
    finally:
        for handle in handles:
            handle.remove()


def _attach(connector: Tapped, seen: Calls) -> list[Any]:
    read = all_tensors if connector.joined else first_tensor

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = all_tensors(args) if connector.joined else argument(connector.pre_argument, args, kwargs)
        seen.pre.append(given.detach())
        if connector.grid_argument is not None:
            given_too = [*args, *kwargs.values()][connector.grid_argument :]
            seen.grids.append(given_too[0] if given_too else None)

    def after_tower(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        seen.pre.append(first_tensor(output).detach())

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        seen.post.append(read(output).detach())

    def after_norm(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        seen.normed.append(first_tensor(output).detach())

    first, last = connector.modules[0], connector.modules[-1]
    if connector.pre_output_of is not None:
        handles = [connector.pre_output_of.register_forward_hook(after_tower)]
    else:
        handles = [first.register_forward_pre_hook(before, with_kwargs=True)]
    handles.append(last.register_forward_hook(after))
    if connector.norm is not None:
        handles.append(connector.norm.register_forward_hook(after_norm))
    return handles + _attach_copies(connector, seen)


def _attach_copies(connector: Tapped, seen: Calls) -> list[Any]:
    seen.untrained = [[] for _ in connector.copies]
    if not connector.copies:
        return []
    read = all_tensors if connector.joined else first_tensor
    run = UntrainedRun(connector.copies, connector.between_modules, read)

    def stepping(stage: int) -> Any:
        def after(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            found = run.step(stage, args, kwargs, output)
            if stage == len(connector.modules) - 1:
                for outputs, tokens in zip(seen.untrained, found or (), strict=bool(found)):
                    outputs.append(tokens.detach())

        return after

    return [
        module.register_forward_hook(stepping(stage), with_kwargs=True)
        for stage, module in enumerate(connector.modules)
    ]
