"""Names of connectors -> modules: the zoo's own, ``untrained_*`` of each, and a user's ``module:Class``.

A connector of your own is any ``nn.Module`` that is called with ``(d_in, d_out)`` and maps [B, 196, d_in] to
[B, m, d_out]. An attribute ``layout`` (a ``Layout``) tells where its tokens lie; without one they have none.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from connector_bench.imported import imported_factory
from connector_bench.imported_source import source_sha256
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
STUDIED: dict[str, Factory] = {
    "rank4": partial(connectors.Bottleneck, rank=4),
    "rank16": partial(connectors.Bottleneck, rank=16),
    "rank64": partial(connectors.Bottleneck, rank=64),
    "mlp_hidden8": partial(connectors.Mlp, hidden=8),
    "avg_pool_4": partial(connectors.AvgPool, cell=7),
    "pixel_shuffle_4": partial(connectors.PixelShuffle, cell=7),
    "c_abstractor_4": partial(connectors.ConvAbstractor, cell=7),
    "resampler_4": partial(connectors.Resampler, latents=4),
    "resampler_16": partial(connectors.Resampler, latents=16),
    "resampler_49": partial(connectors.Resampler, latents=49),
    "resampler_196": partial(connectors.Resampler, latents=196),
}
"""Further sizes of the same kinds, for the study of what predicts answers: ranks, and numbers of tokens.

Trained as the others are, with weights of three seeds, after `leaderboard/prediction.json` was fixed."""
NOTHING_TO_TRAIN = ("identity", "rotation")


def canonical_name(name: str) -> str:
    """The name weights are kept under.

    ``untrained_identity`` and ``untrained_rotation`` are the trained ones: there is nothing to train in them.
    """
    base = name.removeprefix(UNTRAINED)
    return base if base in NOTHING_TO_TRAIN else name


def connector_names(untrained: bool = True) -> list[str]:
    """The zoo's names; aliases, and the further sizes of the study, are left out."""
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
        return imported_factory(base)
    if known_factory := (CONNECTORS | STUDIED).get(base):
        return known_factory
    known = [*connector_names(), *(f"{UNTRAINED}{n}" for n in NOTHING_TO_TRAIN), *STUDIED]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"unknown connector {name!r}.{hint} Known: {', '.join(known)}; or an import path 'module:Class'"
    )


def own_source(name: str) -> str | None:
    """The hash of the source of a class of one's own; None for the zoo's names."""
    base = name.removeprefix(UNTRAINED)
    return source_sha256(base) if ":" in base else None


def build_connector(name: str, d_in: int, d_out: int, seed: int) -> nn.Module:
    """A connector at the random start of ``seed``, in float32. The caller's random state is untouched.

    Raises:
        ValueError: unknown name, or the factory fails or gives no ``nn.Module``.
    """
    factory = find_factory(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            module = factory(d_in, d_out)
        except Exception as error:
            raise ValueError(
                f"connector {name!r} cannot be made from ({d_in}, {d_out}): {type(error).__name__}: {error}"
            ) from error
    if not isinstance(module, nn.Module):
        raise ValueError(f"connector {name!r} gave a {type(module).__name__}, expected an nn.Module")
    return module.float()


def layout_of(module: nn.Module, d_in: int, d_out: int) -> Layout:
    """A connector's declared layout, or one measured on a zero input, whose tokens have no known place.

    Raises:
        ValueError: the module fails, its output is not [B, m, d_out], its attribute ``layout`` is no ``Layout``, or
        its tokens are not as many as declared.
    """
    try:
        with torch.inference_mode():
            given = module(torch.zeros(2, GRID * GRID, d_in))
    except Exception as error:
        raise ValueError(
            f"{type(module).__name__} fails on [2, {GRID * GRID}, {d_in}]: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(given, torch.Tensor):
        raise ValueError(
            f"{type(module).__name__} maps [2, {GRID * GRID}, {d_in}] to {type(given).__name__}, expected one tensor "
            f"[2, m, {d_out}]"
        )
    shape = tuple(given.shape)
    if len(shape) != 3 or shape[0] != 2 or shape[2] != d_out:
        raise ValueError(
            f"{type(module).__name__} maps [2, {GRID * GRID}, {d_in}] to {list(shape)}, "
            f"expected [2, m, {d_out}]"
        )
    layout = getattr(module, "layout", None)
    if layout is None:
        return Layout(shape[1], None, declared=False)
    if not isinstance(layout, Layout):
        raise ValueError(
            f"{type(module).__name__}.layout is {layout!r}; a Layout of connector_bench.zoo.connectors is needed, "
            f"such as Layout(tokens={shape[1]}, grid=None)"
        )
    if layout.tokens != shape[1]:
        raise ValueError(f"{type(module).__name__} declares {layout.tokens} tokens and gives {shape[1]}")
    return layout


def layout_doubt(name: str, layout: Layout) -> str | None:
    """A warning where a connector declares no layout though its tokens are as many as a grid would have, else None."""
    rows = math.isqrt(layout.tokens)
    if layout.declared or rows * rows != layout.tokens:
        return None
    grid = f"Layout(tokens={layout.tokens}, grid=({rows}, {rows}))"
    return (
        f"{name} declares no layout: its {layout.tokens} tokens are taken to have no place in the picture, so `lost` "
        f"is larger than with probes that know the places. If they lie in {rows} rows of {rows}, give the class "
        f"`layout = {grid}`, if they have no place `layout = Layout(tokens={layout.tokens}, grid=None)`, from "
        "connector_bench.zoo.connectors"
    )
