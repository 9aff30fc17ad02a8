"""Running a vision pass where the model's weights are: on another device, offloaded, sharded or compiled."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.base import UnsupportedModel
from connector_bench.connectors.weights import hooks_of, is_sharded, keeps_flat
from connector_bench.foreign_files import first_line
from connector_bench.processes import rank_and_size

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

WRAPPERS = ("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel", "DeepSpeedEngine")
"""Classes that hold the model in `module`."""


def unwrapped(model: Any) -> Any:
    """The model itself, out of what compilers, adapters (PEFT) and data-parallel training put around it."""
    while True:
        names = {kind.__name__ for kind in type(model).__mro__}
        if names & set(WRAPPERS):
            model = model.module
        elif "OptimizedModule" in names:
            model = model._orig_mod
        elif names & {"PeftModel", "PeftMixedModel"}:
            model = model.get_base_model()
        else:
            return model


def gathering(model: Any) -> Any:
    """The outermost module whose forward pass gathers sharded weights (FSDP), None where none does."""
    while True:
        names = {kind.__name__ for kind in type(model).__mro__}
        if names & {"FullyShardedDataParallel", "FSDPModule"}:
            return model
        inner = getattr(model, "_orig_mod", None) or vars(model).get("_modules", {}).get("module")
        if inner is None:
            return None
        model = inner


def refuse_shared_out(model: nn.Module) -> None:
    """ValueError where several processes hold parts of one model (FSDP, tensor parallelism, ZeRO-3).

    Their forward passes wait for each other, and ranks have different numbers of pictures to pass.
    """
    shared = gathering(model) is not None or any(
        is_sharded(parameter) or hasattr(parameter, "ds_id") for parameter in unwrapped(model).parameters()
    )
    if shared and rank_and_size()[1] > 1:
        raise ValueError(
            f"{type(unwrapped(model)).__name__} is shared out over {rank_and_size()[1]} processes (FSDP, tensor "
            "parallelism or ZeRO-3): each has pictures of its own to measure, and would wait for the others in every "
            "forward pass. Give every process a whole copy (torchrun or accelerate without FSDP), or run one process "
            "with device_map=auto"
        )


def run_gathered(
    outer: Any, model: nn.Module, run: Callable[[nn.Module, Mapping[str, Any]], Any], inputs: dict[str, Any]
) -> None:
    """`run` on the model, inside the forward pass of `outer`, so that FSDP gathers the weights for it."""

    def forward(given: Mapping[str, Any]) -> None:
        run(model, given)

    holder = outer.module if keeps_flat(outer) else outer
    holder.forward = forward
    try:
        outer(inputs)
    finally:
        del holder.forward


def chosen_device(device: str) -> str:
    """A device by name; for `auto` a graphics card where torch finds one, else the CPU."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def require_device(device: str, called: str = "--device") -> None:
    """ValueError where torch has no such device here; `called` is what its user names it by."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"{called} {device} cannot be used here: {first_line(error)}") from error


def input_device(model: nn.Module) -> torch.device:
    """The device that inputs are put on: the model's own, or where accelerate's hooks run it.

    Raises:
        UnsupportedModel: the weights have no values (meta device) and no hook brings them.
    """
    import torch

    for module in model.modules():
        for hook in hooks_of(module):
            device = getattr(hook, "execution_device", None)
            if device is not None:
                return torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    if device.type == "meta":
        raise UnsupportedModel(
            f"The weights of {type(model).__name__} are on the meta device, so they have no values; "
            "load the model on a device, or with a device_map."
        )
    return torch.device(getattr(model, "device", device))


def dtype_of(model: Any) -> torch.dtype:
    """The precision that the model computes in: its own word for it, or its first parameter's."""
    dtype: torch.dtype = getattr(model, "dtype", None) or next(model.parameters()).dtype
    return dtype


def in_precision(inputs: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Inputs with their floating tensors of the CPU in this precision."""
    import torch

    def cast(value: Any) -> Any:
        ours = isinstance(value, torch.Tensor) and value.device.type == "cpu" and value.is_floating_point()
        return value.to(dtype) if ours else value

    return {name: cast(value) for name, value in inputs.items()}


def fetchable(model: nn.Module, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs where a graphics card, if the model is on one, can fetch them while it computes."""
    import torch

    if input_device(model).type != "cuda":
        return dict(inputs)

    def pinned(value: Any) -> Any:
        ours = isinstance(value, torch.Tensor) and value.device.type == "cpu"
        return value.pin_memory() if ours else value

    return {name: pinned(value) for name, value in inputs.items()}


def on_device(model: nn.Module, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors of the inputs on the model's device, floating ones in its precision."""
    import torch

    device = input_device(model)
    dtype = dtype_of(model)

    def moved(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        there = (
            value.to(device, non_blocking=value.is_pinned()) if device.type == "cuda" else value.to(device)
        )
        return there.to(dtype) if there.is_floating_point() else there

    return {name: moved(value) for name, value in inputs.items()}


def without_waiting(values: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device; a graphics card fetches it when it comes to it, and nobody waits."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def uncompiled() -> AbstractContextManager[Any]:
    """While it lasts, compiled modules run as written: compiled code does not see hooks that came later.

    Nothing is compiled where torch's compiler was never imported, and importing it takes a second.
    """
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    import torch

    return torch.compiler.set_stance("force_eager")
