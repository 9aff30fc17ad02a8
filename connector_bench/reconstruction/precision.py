"""Products that lose nothing: float64 where the device is fast at it, else fp32 of inputs centred in float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

FAST_FLOAT64 = ((8, 0), (9, 0), (10, 0))
"""Compute capabilities of cards whose float64 products are about as fast as fp32 ones; on others 1/32 or 1/64."""


def float64_is_fast(device: torch.device) -> bool:
    """Whether products in float64 cost about what they cost in fp32: the CPU and the cards of data centres."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) in FAST_FLOAT64


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """While the block runs, fp32 products are made in fp32, whatever the model's wrapper has allowed."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
