"""Products that lose nothing: float64 where the device is fast at it, else fp32 of inputs centred in float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

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
def full_float32() -> Iterator[None]:
    """Matrix products of float32 on CUDA in float32, although a model's wrapper has allowed TF32 for itself."""
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:  # set through torch's newer interface, beside which the older one refuses to be read
        with _ieee():
            yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _ieee() -> Iterator[None]:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = before


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
