"""A block that leaves training as it was: modes, buffers, random numbers, gradients, autocast and compiled code."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.connectors.execution import uncompiled

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@contextmanager
def undisturbed(modules: Sequence[nn.Module]) -> Iterator[None]:
    """While the block runs the modules and all within are in evaluation mode; afterwards nothing shows that it ran.

    Put back are every submodule's own mode, the buffers of each module that ran (BatchNorm's statistics, power
    iterations), and the random state of torch on the CPU and on the modules' cards, of numpy and of Python. No gradient
    is recorded. Modules run as written where they were compiled, with the autocast that surrounds the block; none of
    its casts are kept, since a cast without gradient would be found by the next training step.
    """
    import torch

    inner = dict.fromkeys(part for module in modules for part in module.modules())
    devices = {parameter.device for module in modules for parameter in module.parameters()}
    training = [part for part in inner if part.training]
    with ExitStack() as stack:
        stack.enter_context(_same_draws(devices))
        stack.enter_context(_same_buffers())
        stack.callback(_set_mode, training, True)
        _set_mode(training, False)
        for kind in sorted({"cpu", *(device.type for device in devices)} - {"meta"}):
            dtype, enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
            stack.enter_context(torch.autocast(kind, dtype, enabled, cache_enabled=False))
        stack.enter_context(uncompiled())
        stack.enter_context(torch.no_grad())
        yield


def _set_mode(modules: Sequence[nn.Module], training: bool) -> None:
    """The flag itself: a module's own `train` may do more, such as merging weights."""
    for module in modules:
        module.training = training


@contextmanager
def _same_draws(devices: set[torch.device]) -> Iterator[None]:
    import torch

    cards = [device for device in devices if device.type == "cuda"]
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=cards):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


@dataclass(frozen=True, eq=False)
class _Held:
    """A buffer as it was before its module ran."""

    module: nn.Module
    name: str
    tensor: Tensor
    version: int
    copy: Tensor

    def put_back(self) -> None:
        if self.module._buffers.get(self.name) is not self.tensor:
            self.module._buffers[self.name] = self.tensor
        if self.tensor._version != self.version:
            self.tensor.copy_(self.copy)


@contextmanager
def _same_buffers() -> Iterator[None]:
    """Buffers of modules that run in the block are what they were before, object and values."""
    import torch
    from torch.nn.modules.module import register_module_forward_pre_hook

    seen: set[nn.Module] = set()
    held: list[_Held] = []

    def before(module: nn.Module, args: Any) -> None:
        if module in seen:
            return
        seen.add(module)
        for name, tensor in module._buffers.items():
            if tensor is not None and not tensor.is_inference():
                held.append(_Held(module, name, tensor, tensor._version, tensor.detach().clone()))

    handle = register_module_forward_pre_hook(before)
    try:
        yield
    finally:
        handle.remove()
        with torch.no_grad():
            for one in held:
                one.put_back()
