"""Names of connectors -> modules: the zoo's own, ``untrained_*`` of each, and a user's ``module:Class``.

A connector of your own is any ``nn.Module`` that is called with ``(d_in, d_out)`` and maps [B, 196, d_in] to
[B, m, d_out]. An attribute ``layout`` (a ``Layout``) tells where its tokens lie; without one they have none.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from connector_bench.zoo import connectors
from connector_bench.zoo.connectors import GRID, Layout

Factory = Callable[[int, int], nn.Module]
UNTRAINED = "untrained_"

CONNECTORS: dict[str, Factory] = {
    "identity": connectors.Identity,
    "rotation": connectors.Rotation,
    "linear": connectors.Linear,
    "mlp": connectors.Mlp,
    "pixel_shuffle": connectors.PixelShuffle,
    "patch_merger": connectors.PatchMerger,
    "avg_pool": connectors.AvgPool,
    "c_abstractor": connectors.ConvAbstractor,
    "resampler": connectors.Resampler,
    "rank2": partial(connectors.Bottleneck, rank=2),
    "rank8": partial(connectors.Bottleneck, rank=8),
    "rank32": partial(connectors.Bottleneck, rank=32),
}
NOTHING_TO_TRAIN = ("identity", "rotation")


def canonical_name(name: str) -> str:
    """The name weights are kept under.

    ``untrained_identity`` and ``untrained_rotation`` are the trained ones: there is nothing to train in them.
    """
    base = name.removeprefix(UNTRAINED)
    return base if base in NOTHING_TO_TRAIN else name


def connector_names(untrained: bool = True) -> list[str]:
    """All names the zoo ships weights for; aliases are left out."""
    frozen = [f"{UNTRAINED}{name}" for name in CONNECTORS if name not in NOTHING_TO_TRAIN]
    return [*CONNECTORS, *(frozen if untrained else [])]


def is_untrained(name: str) -> bool:
    """Whether the connector stays at its random initialisation while the decoder is trained on top of it."""
    return name.startswith(UNTRAINED) or name in NOTHING_TO_TRAIN


def find_factory(name: str) -> Factory:
    """The factory of a connector's name.

    Raises:
        ValueError: the name is neither in the zoo nor an import path ``module:Class`` that leads to a
        callable.
    """
    base = name.removeprefix(UNTRAINED)
    if ":" in base:
        return _import_factory(base)
    if base in CONNECTORS:
        return CONNECTORS[base]
    known = [*connector_names(), *(f"{UNTRAINED}{n}" for n in NOTHING_TO_TRAIN)]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"unknown connector {name!r}.{hint} Known: {', '.join(known)}; or an import path 'module:Class'"
    )


def _import_factory(path: str) -> Factory:
    module_name, _, attribute = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"cannot import connector {path!r} (expected 'module:Class'): {error}") from error
    if not callable(factory):
        raise ValueError(f"connector {path!r} is a {type(factory).__name__}, expected an nn.Module class")
    return factory


def build_connector(name: str, d_in: int, d_out: int, seed: int) -> nn.Module:
    """A connector at the random start of ``seed``, in float32. The caller's random state is untouched.

    Raises:
        ValueError: unknown name, or the factory gives no ``nn.Module``.
    """
    factory = find_factory(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = factory(d_in, d_out)
    if not isinstance(module, nn.Module):
        raise ValueError(f"connector {name!r} gave a {type(module).__name__}, expected an nn.Module")
    return module.float()


def layout_of(module: nn.Module, d_in: int, d_out: int) -> Layout:
    """A connector's declared layout, or one measured on a zero input, whose tokens have no known place.

    Raises:
        ValueError: the output is not [B, m, d_out], or its tokens are not as many as declared.
    """
    with torch.inference_mode():
        shape = tuple(module(torch.zeros(2, GRID * GRID, d_in)).shape)
    if len(shape) != 3 or shape[0] != 2 or shape[2] != d_out:
        raise ValueError(
            f"{type(module).__name__} maps [2, {GRID * GRID}, {d_in}] to {list(shape)}, "
            f"expected [2, m, {d_out}]"
        )
    layout = getattr(module, "layout", None)
    if not isinstance(layout, Layout):
        return Layout(shape[1], None)
    if layout.tokens != shape[1]:
        raise ValueError(f"{type(module).__name__} declares {layout.tokens} tokens and gives {shape[1]}")
    return layout
