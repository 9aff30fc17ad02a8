"""In which precision and on which device probes compute.

Products lose nothing: float64 where the device is fast at it, else fp32 of inputs centred in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.float32 import full_float32
from connector_bench.progress import doing

Fit = TypeVar("Fit")

FAST_FLOAT64 = ((8, 0), (9, 0), (10, 0))
"""Compute capabilities of cards whose float64 products are about as fast as fp32 ones; on others 1/32 or 1/64."""


def float64_is_fast(device: torch.device) -> bool:
    """Whether products in float64 cost about what they cost in fp32: the CPU and the cards of data centres."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) in FAST_FLOAT64


def affine(
    x: Float[Tensor, "n d"], weight: Float[Tensor, "d m"], bias: Float[Tensor, " m"]
) -> Float[Tensor, "n m"]:
    """`x @ weight + bias` in float64.

    Where float64 is slow: the mean of these rows is taken off in float64 and only the rest multiplied in fp32, so
    that a large mean cannot cancel. The error of each entry is then at most `(d + 3) * 2^-24` times that of
    `|x - mean| @ |weight|` (Higham 2002, section 3.5; two of the roundings are those to fp32).
    """
    x = x.to(weight.dtype)
    if not len(x) or float64_is_fast(x.device):
        return (x @ weight).add_(bias)
    mean = x.mean(0)
    rest = (x - mean).float() @ weight.float()
    return rest.to(weight.dtype).add_(mean @ weight + bias)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """While the block runs, fp32 products are made in fp32, whatever the model's wrapper has allowed."""
    with full_float32(), torch.autocast(device.type, enabled=False):
        yield


def scoring_device(option: str, tokens: torch.device) -> torch.device:
    """Where tokens on this device are to be scored: `auto` for where they are, as long as it knows float64."""
    if option != "auto":
        return torch.device(option)
    return tokens if tokens.type in ("cpu", "cuda") else torch.device("cpu")


def fit_device(option: str, sample: torch.device) -> torch.device:
    """The device that fits run on; `auto` is the one that the sample lies on."""
    return sample if option == "auto" else torch.device(option)


def with_room(
    what: str, fit: Callable[[torch.device], Fit], device: torch.device, troubles: list[str]
) -> Fit:
    """`fit(device)`; where the device's memory does not suffice, on the CPU, and `troubles` get a sentence more."""
    try:
        with full_float32(), doing(f"fitting {what}"):
            return fit(device)
    except torch.OutOfMemoryError:
        if device.type == "cpu":
            raise
    # behind the `except`, whose traceback holds what the fit had put on the device
    torch.cuda.empty_cache()
    troubles.append(
        f"{device} has too little free memory to fit {what}: fitted on the CPU, which takes longer"
    )
    with doing(f"fitting {what} on the CPU"):
        return fit(torch.device("cpu"))
