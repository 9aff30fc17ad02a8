"""Weights that no checkpoint gave: transformers draws what a checkpoint lacks at random, and says so in a log only.

A measurement of such a connector says nothing of a trained one. What is missing is noted on the module itself when the
model is loaded, with a sample of its values: adapters may wrap or copy the module since, and weights that were loaded
by hand or trained since are no longer fresh.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from connector_bench.connectors.base import UnsupportedModel
from connector_bench.connectors.weights import Stored, running_parts, value_of

if TYPE_CHECKING:
    from torch import Tensor, nn

VARIABLE = "CONNECTOR_BENCH_ALLOW_FRESH"
NOTE = "_connector_bench_fresh"
SAMPLE = 64
"""Values kept of a fresh tensor."""
ROUNDING = 0.01
"""Relative change below which a value is the same one in another precision."""
NAMED = 8
"""Weights that a message names."""


def observe_loading() -> None:
    """From now on, models that transformers loads carry a note of the weights that their checkpoint lacked."""
    import transformers

    base: Any = transformers.PreTrainedModel
    original = base.from_pretrained.__func__
    if hasattr(original, NOTE):
        return

    @wraps(original)
    def from_pretrained(cls: Any, *args: Any, **options: Any) -> Any:
        asked = options.pop("output_loading_info", False)
        loaded = original(cls, *args, output_loading_info=True, **options)
        if not isinstance(loaded, tuple):
            return loaded
        note_missing(*loaded)
        return loaded if asked else loaded[0]

    setattr(from_pretrained, NOTE, True)
    base.from_pretrained = classmethod(from_pretrained)


def note_missing(model: nn.Module, loading: Mapping[str, Any]) -> None:
    """Note on each module which of its tensors were missing from the checkpoint, or had another shape there."""
    setattr(model, NOTE, {})
    mismatched = loading.get(
        "mismatched_keys", ()
    )  # names alone before transformers 5, with both shapes since
    missing = {
        *loading.get("missing_keys", ()),
        *(entry if isinstance(entry, str) else entry[0] for entry in mismatched),
    }
    for key in sorted(missing):
        path, _, name = key.rpartition(".")
        try:
            module = model.get_submodule(path)
        except AttributeError:  # an adapter's own name for it
            continue
        vars(module).setdefault(NOTE, {})[name] = _sample(module, name)


def fresh_weights(model: nn.Module, connector: Mapping[str, nn.Module]) -> list[str]:
    """Names of the connector's weights that are as transformers initialised them.

    A model that was loaded before `observe_loading` carries no notes: then those weights are named which no checkpoint
    gave and which look as `_init_weights` leaves them.
    """
    found = []
    for path, outer in connector.items():
        for inner, module in running_parts(outer, adapters=False):
            noted = vars(module).get(NOTE, {})
            if NOTE in vars(model):
                fresh = list(noted) if all(_unchanged(module, *item) for item in noted.items()) else []
            else:
                fresh = _untouched(model, module)
            found += [".".join(part for part in (path, inner, name) if part) for name in fresh]
    return found


def refuse_fresh(name: str, fresh: Sequence[str]) -> tuple[str, ...]:
    """What a record says of fresh weights, where the user allows them.

    Raises:
        UnsupportedModel: there are some, and `CONNECTOR_BENCH_ALLOW_FRESH` is not set; they are named.
    """
    if not fresh:
        return ()
    named = ", ".join(fresh[:NAMED]) + (f" and {len(fresh) - NAMED} more" if len(fresh) > NAMED else "")
    if os.environ.get(VARIABLE, "").strip().lower() in ("", "0", "false", "no"):
        raise UnsupportedModel(
            f"The checkpoint of {name} lacks weights of the connector, which were freshly initialised: {named}. "
            f"Load a checkpoint that holds them, or set {VARIABLE}=1 to measure an untrained connector."
        )
    return (f"freshly initialised, since the checkpoint lacked them: {named}",)


def _sample(module: nn.Module, name: str) -> list[float] | None:
    """Values at even distances; None where the tensor's values cannot be read as they stand."""
    import torch

    tensor = {**module._parameters, **module._buffers}.get(name)
    value = None if tensor is None else value_of(Stored(name, module, name, tensor))
    if value is None or value.element_size() < 2:
        return None
    flat = value.detach().reshape(-1)
    rows = torch.linspace(0, flat.numel() - 1, min(SAMPLE, flat.numel())).long()
    return [float(number) for number in flat[rows.to(flat.device)]]


def _unchanged(module: nn.Module, name: str, before: list[float] | None) -> bool:
    now = _sample(module, name)
    if before is None or now is None or len(before) != len(now):
        return True
    return all(math.isclose(a, b, rel_tol=ROUNDING, abs_tol=1e-7) for a, b in zip(before, now, strict=True))


def _untouched(model: Any, module: nn.Module) -> list[str]:
    """A module's own parameters, if no checkpoint gave them and they look as the model initialises them."""
    own = {name: p for name, p in module._parameters.items() if p is not None}
    if not own or any(_loaded(p) or p.is_meta for p in own.values()) or not _from_checkpoint(model):
        return []
    try:
        drawn = copy.deepcopy(module)
        vars(drawn).pop("_is_hf_initialized", None)
        model._init_weights(drawn)
    except Exception:  # remote classes initialise in any way, FSDP's tensors allow no copy: nothing is known
        return []
    pairs = [(own[name], drawn._parameters[name]) for name in own]
    maps = any(p.ndim > 1 for p in own.values())
    return list(own) if maps and all(_alike(p, q) for p, q in pairs if q is not None) else []


def _loaded(parameter: Any) -> bool:
    return bool(getattr(parameter, "_is_hf_initialized", False))


def _from_checkpoint(model: nn.Module) -> bool:
    """Whether transformers has marked what it loaded, which releases before 5 do not."""
    return hasattr(model, "_init_weights") and any(_loaded(p) for p in model.parameters())


def _alike(parameter: Tensor, drawn: Tensor) -> bool:
    """Equal where the initialisation is constant; else of one mean and deviation, to six standard errors."""
    a, b = parameter.detach().double(), drawn.detach().double()
    if parameter.ndim < 2:
        return bool((a == b).all())
    error = 6 * math.sqrt(2 / a.numel()) * float(b.std())
    return abs(float(a.mean() - b.mean())) <= error and abs(float(a.std() - b.std())) <= error
