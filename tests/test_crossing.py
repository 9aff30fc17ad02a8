"""What crosses from the model's device to the host for an image of LLaVA's size while it passes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from connector_bench.preservation.options import PreservationOptions
from connector_bench.preservation.pooled import PooledPreservation
from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.learning import ProbeLearner
from connector_bench.types import Tile, TokenBatch, TokenLayout

SIDE, D_PRE, D_POST = 24, 1024, 4096
MOST_AN_IMAGE = 2 * 10**6
NAMES = tuple(f"image {number}" for number in range(4))
TO_HOST = {torch.Tensor.cpu, torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.item}
ASKED = {torch.Tensor.__bool__, torch.Tensor.__int__, torch.Tensor.__float__, torch.Tensor.__index__}


class Crossing(TorchFunctionMode):
    """Counts the bytes of tensors that are asked for on the host.

    Without a card the same lines of code run and every tensor counts, also those that lie on the host beside a card and
    those that are asked for twice. What goes to "the model's device" crosses nothing and does not count.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.bytes = device, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in TO_HOST | ASKED and args[0].device.type == self.device:
            self.bytes += args[0].nbytes
        if func is torch.Tensor.to and args[0].device.type == self.device:
            targets = [*args[1:], *kwargs.values()]
            if "cpu" in (targets if self.device == "cpu" else map(str, targets)):
                self.bytes += args[0].nbytes
        return func(*args, **kwargs)


@contextmanager
def crossing(device: str) -> Iterator[Crossing]:
    with Crossing(device) as counted:
        yield counted


def batch(device: str) -> TokenBatch:
    layout = TokenLayout((Tile((SIDE, SIDE), (SIDE, SIDE)),), SIDE * SIDE)
    torch.manual_seed(0)
    rows = len(NAMES) * layout.n_pre

    def tokens(width: int) -> torch.Tensor:
        return torch.randn(rows, width, device=device).bfloat16()

    copies = tuple(tokens(D_POST) for _ in range(3))
    return TokenBatch(NAMES, (layout,) * len(NAMES), tokens(D_PRE), tokens(D_POST), None, copies)


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")),
    ],
)
def test_at_most_two_megabytes_an_image_cross_in_the_training_pass(device: str) -> None:
    documents = {f"image {number}": [number] for number in range(1000)}
    passed = batch(device)
    assert passed.post.nbytes / len(NAMES) > 2 * MOST_AN_IMAGE
    learner = ProbeLearner(ReconstructionConfig(device=device))
    learner.begin(documents, [])
    pooled = PooledPreservation(PreservationOptions())
    pooled.begin(documents)
    assert all(map(learner.wants_untrained, NAMES))
    assert all(map(pooled.wants_untrained, NAMES))
    with crossing(device) as training:
        learner.learn(passed)
    with crossing(device) as pooling:
        pooled.update(passed)
    print(f"{training.bytes / len(NAMES):,.0f} and {pooling.bytes / len(NAMES):,.0f} bytes an image")
    assert training.bytes + pooling.bytes <= len(NAMES) * MOST_AN_IMAGE
    assert pooling.bytes >= 4 * len(NAMES) * (D_PRE + D_POST)


def test_what_is_asked_for_on_the_host_is_counted() -> None:
    rows = torch.zeros(10, 4)
    with crossing("cpu") as counted:
        rows.cpu()
        assert counted.bytes == 160
        rows.to("cpu")
        assert counted.bytes == 320
        rows.sum().item()
        assert counted.bytes == 324
        rows.numpy()
        assert counted.bytes == 484
        assert not bool(rows.any())
        assert counted.bytes == 485
