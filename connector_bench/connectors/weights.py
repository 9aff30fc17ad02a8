"""A connector's weights as they run: counted, hashed and described, however they are stored and wrapped.

Quantisers pack weights, accelerate leaves them on the disk, FSDP shards them, and PEFT keeps frozen originals beside
what runs. Names are those of the plain module, so that a wrapper changes no hash.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

WRAPPED = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Names under which torch's wrappers hold the one module that they wrap."""

PACKED = ("qweight", "weight_packed", "W_q")
"""Names of packed weights: GPTQ and AWQ, compressed-tensors, HQQ."""


@dataclass(frozen=True)
class Stored:
    """One parameter or buffer, and the module that holds it."""

    name: str
    """Path from the connector's module, as in a model that nothing wraps."""
    module: nn.Module
    key: str
    tensor: Tensor


def running_parts(
    module: nn.Module, prefix: str = "", *, adapters: bool = True
) -> Iterator[tuple[str, nn.Module]]:
    """The module and those below it that take part in its forward pass, with their plain paths.

    Without `adapters`, those that PEFT has added (LoRA's matrices) are left out.
    """
    yield prefix, module
    for name, child in _running_children(module, adapters):
        path = ".".join(part for part in (prefix, name) if part)
        yield from running_parts(child, path, adapters=adapters)


def _running_children(module: nn.Module, adapters: bool) -> list[tuple[str, nn.Module]]:
    children = dict(module.named_children())
    if "original_module" in children and "modules_to_save" in children:
        return [("", _saved_or_original(module, children))]
    if "base_layer" in children:
        return [("", children["base_layer"]), *(_adapters(module, children) if adapters else ())]
    return [("" if name in WRAPPED else name, child) for name, child in children.items()]


def _saved_or_original(wrapper: Any, children: dict[str, nn.Module]) -> nn.Module:
    """What PEFT's `modules_to_save` runs: the copy of the active adapter, or the original."""
    if not wrapper.disable_adapters:
        for name, copy in children["modules_to_save"].named_children():
            if name in wrapper.active_adapters:
                return copy
    return children["original_module"]


def _adapters(layer: Any, children: dict[str, nn.Module]) -> list[tuple[str, nn.Module]]:
    """The adapters that run beside a base layer: the active ones, none where they are merged into it."""
    if layer.disable_adapters or layer.merged:
        return []
    found: list[tuple[str, nn.Module]] = []
    for kind in (name for name in layer.adapter_layer_names if name in children):
        named = dict(children[kind].named_children())
        if named:
            found += [(f"{kind}.{name}", named[name]) for name in layer.active_adapters if name in named]
        else:
            found.append((kind, children[kind]))
    return found


def without_adapters(module: Any) -> nn.Module:
    """The plain modules inside PEFT's and torch.compile's wrappers, put in their place; `module` is changed."""
    for name in (*WRAPPED, "base_layer", "original_module"):
        if name in module._modules:
            return without_adapters(module._modules[name])
    for name, child in list(module.named_children()):
        module._modules[name] = without_adapters(child)
    return module


def stored(modules: Sequence[nn.Module]) -> Iterator[Stored]:
    """Parameters and buffers of the modules that run, each tensor once, under stable names."""
    return _named(modules, lambda module: {**module._parameters, **module._buffers})


def saved(modules: Sequence[nn.Module]) -> Iterator[Stored]:
    """The same, but of quantised modules what they would save: bitsandbytes keeps scales beside its tensors."""
    return _named(
        modules,
        lambda module: (
            module.state_dict() if is_quantised(module) else {**module._parameters, **module._buffers}
        ),
    )


def _named(
    modules: Sequence[nn.Module], tensors_of: Callable[[nn.Module], Mapping[str, Any]]
) -> Iterator[Stored]:
    seen: set[int] = set()
    for index, outer in enumerate(modules):
        for path, module in running_parts(outer):
            for key, tensor in tensors_of(module).items():
                if hasattr(tensor, "element_size") and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield Stored(".".join(p for p in (str(index), path, key) if p), module, key, tensor)


def is_quantised(module: nn.Module) -> bool:
    """Whether a module's own weights are stored in fewer bits than they are computed in."""
    own = {**module._parameters, **module._buffers}
    if any(own.get(name) is not None for name in PACKED):
        return True
    weight = own.get("weight")
    if weight is None:
        return False
    return weight.element_size() < 2 or (is_composed(weight) and not is_sharded(weight))


def is_composed(tensor: Any) -> bool:
    """Whether a tensor is made of others, as torchao's quantised ones and DTensors are."""
    return hasattr(tensor, "__tensor_flatten__")


def is_sharded(tensor: Any) -> bool:
    """Whether processes hold parts of the tensor (FSDP2, tensor parallelism)."""
    return any(kind.__name__ == "DTensor" for kind in type(tensor).__mro__)


def count_parameters(modules: Sequence[nn.Module]) -> int:
    """Number of distinct parameters that run; of packed weights, those that they stand for."""
    from torch import nn

    total, packed = 0, set()
    for item in stored(modules):
        features = _features(item.module)
        if features and is_quantised(item.module) and item.key != "bias":
            if id(item.module) not in packed:
                packed.add(id(item.module))
                total += features
        elif isinstance(item.tensor, nn.Parameter) or (item.key == "bias" and features):
            total += item.tensor.numel()
    return total


def _features(module: Any) -> int:
    """Weights of a linear map by its two widths, 0 for other modules; GPTQ wrote the names in one word."""
    for inner, outer in (("in_features", "out_features"), ("infeatures", "outfeatures")):
        if hasattr(module, inner) and hasattr(module, outer):
            return math.prod((int(getattr(module, inner)), int(getattr(module, outer))))
    return 0


def precision(modules: Sequence[nn.Module], default: torch.dtype) -> str:
    """In what the modules compute, such as `bfloat16`, and how their weights are quantised where they are."""
    kinds = sorted({quantiser(module) for outer in modules for _, module in quantised_parts(outer)})
    own = (item.tensor.dtype for item in stored(modules) if item.tensor.is_floating_point())
    computed = default if kinds else next(own, default)
    return ", ".join([str(computed).removeprefix("torch."), *(f"weights in {kind}" for kind in kinds)])


def quantised_parts(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Those modules that run whose weights are quantised, with their paths."""
    return [(path, part) for path, part in running_parts(module) if is_quantised(part)]


def quantiser(module: nn.Module) -> str:
    """The class that says how a quantised module stores its weights, such as `Linear8bitLt` or `Int8Tensor`."""
    weight = module._parameters.get("weight")
    return type(weight if is_composed(weight) else module).__name__


def weights_sha256(modules: Sequence[nn.Module]) -> str | None:
    """SHA-256 of the tensors that run: name, dtype, shape and bytes, in a fixed order.

    None where a tensor lies on the meta device and no hook of accelerate says where its values are, and for 4-bit
    weights of bitsandbytes on a CPU, which their first forward pass rewrites.
    """
    digest = hashlib.sha256()
    for item in sorted(saved(modules), key=lambda item: item.name):
        value = value_of(item)
        if value is None:
            return None
        for name, piece in _pieces(item.name, value):
            # bitsandbytes widens its biases in the first forward pass
            narrow = piece.is_floating_point() and piece.element_size() == 2
            _add(digest, name, piece.float() if narrow and is_quantised(item.module) else piece)
    return digest.hexdigest()


def value_of(item: Stored) -> Tensor | None:
    """A tensor with its values, off the disk where they are offloaded; None where they cannot be had."""
    if hasattr(item.module._parameters.get("weight"), "quant_state") and item.tensor.device.type == "cpu":
        return None
    if not item.tensor.is_meta:
        return item.tensor.full_tensor() if is_sharded(item.tensor) else item.tensor  # type: ignore[attr-defined]
    for hook in hooks_of(item.module):
        try:
            return hook.weights_map[item.key].to(item.tensor.dtype)
        except (AttributeError, KeyError, TypeError):
            continue
    return None


def hooks_of(module: nn.Module) -> list[Any]:
    """accelerate's hooks on a module."""
    hook = getattr(module, "_hf_hook", None)
    return [] if hook is None else list(getattr(hook, "hooks", [hook]))


def _pieces(name: str, tensor: Any) -> Iterator[tuple[str, Tensor]]:
    if not is_composed(tensor):
        yield name, tensor
        return
    for part in sorted(tensor.__tensor_flatten__()[0]):
        yield from _pieces(f"{name}.{part}", getattr(tensor, part))


def _add(digest: Any, name: str, tensor: Tensor) -> None:
    import torch

    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
    # a copy: numpy pins the memory that it looks at, and FSDP frees its own
    flat = tensor.detach().cpu().contiguous().reshape(-1).clone()
    digest.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")


def gathered(outer: Any) -> AbstractContextManager[None]:
    """While it lasts, FSDP's flat parameters are whole and lie where the plain module has them."""
    if not keeps_flat(outer):
        return nullcontext()
    whole: AbstractContextManager[None] = type(outer).summon_full_params(outer, writeback=False)
    return whole


def keeps_flat(outer: Any) -> bool:
    """Whether this is FSDP's first kind, which keeps many parameters in one flat tensor."""
    return type(outer).__name__ == "FullyShardedDataParallel"
