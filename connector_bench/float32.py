"""Products of float32 in float32, whatever somebody else has asked torch for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def full_float32() -> Iterator[None]:
    """Matrix products of float32 on CUDA in float32, although a model's wrapper has allowed TF32 for itself."""
    import torch

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
    import torch

    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = before
