"""Training with a probe is training without one, to the last bit."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import connector_bench as cb
from connector_bench.training.undisturbed import undisturbed
from tests.training import loops

EVERY_STEP = 5


def probing(folder: Path, found: list[Any]) -> Any:
    def between(step: int, net: loops.Net) -> None:
        if not found:
            parts = (net.tower, net.connector)
            found.append(cb.ConnectorProbe(loops.images(), parts, every=1, folder=folder, ks=(3,)))
        found[0].step(step)

    return between


def compiled(net: loops.Net, backend: Any) -> Any:
    return torch.compile(net, backend=backend)


@pytest.mark.parametrize("way", ["eager", "compiled"])
def test_a_plain_loop(tmp_path: Path, way: str) -> None:
    """Autocast, accumulation, BatchNorm, spectral norm, dropout; measured between forward and backward."""
    from torch._dynamo.testing import CompileCounterWithBackend

    counters = [CompileCounterWithBackend("aot_eager") for _ in range(2)]
    wraps = [
        (lambda net: net) if way == "eager" else (lambda net, own=own: compiled(net, own)) for own in counters
    ]
    torch._dynamo.reset()
    draws = way == "eager"  # torch 2.6 cannot compile what draws from numpy
    without = loops.plain_loop(EVERY_STEP, wrap=wraps[0], draws=draws)
    torch._dynamo.reset()
    found: list[Any] = []
    probed = loops.plain_loop(EVERY_STEP, probing(tmp_path, found), wrap=wraps[1], draws=draws)
    assert probed[0] == without[0]
    assert loops.same_bits(probed[1], without[1])
    table = found[0].to_pandas()
    assert list(table.index) == list(range(1, EVERY_STEP + 1))
    assert "error" not in table
    assert table["knor_3_first"].iloc[-1] < 1, "the connector was trained, so the test could have failed"
    assert counters[0].frame_count == counters[1].frame_count, "nothing was compiled anew"
    assert (counters[0].frame_count > 0) == (way == "compiled")


def test_the_loop_would_show_a_disturbance() -> None:
    """Without `undisturbed` a single pass of the connector changes losses and statistics."""
    without = loops.plain_loop(3)

    def careless(step: int, net: loops.Net) -> None:
        net.connector(net.tower(loops.images()))

    careless_loop = loops.plain_loop(3, careless)
    assert careless_loop[0] != without[0]
    assert not loops.same_bits(careless_loop[1], without[1])


class Holding(nn.Module):
    """Replaces a buffer, and keeps a tensor of the pass for later."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(3))
        self.linear = nn.Linear(3, 3)
        self.cached: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = self.seen + 1
        if self.cached is None:
            self.cached = torch.ones(3)
        return nn.functional.dropout(self.linear(x) * self.cached, 0.5, training=True)


def test_everything_is_put_back_also_after_an_error() -> None:
    net = nn.Sequential(Holding(), nn.BatchNorm1d(3), nn.Dropout()).train()
    net[1].eval()
    buffer, modes = net[0].seen, [module.training for module in net.modules()]
    state = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    drawn = torch.rand(2).tolist(), np.random.rand(), random.random()
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(KeyError), undisturbed([net]):  # noqa: PT012
        assert not any(module.training for module in net.modules())
        assert torch.is_autocast_enabled("cpu")
        assert net(torch.randn(4, 3)).dtype == torch.bfloat16 or not torch.is_grad_enabled()
        np.random.rand(), random.random()
        raise KeyError("any")
    assert torch.is_grad_enabled()
    assert [module.training for module in net.modules()] == modes
    assert net[0].seen is buffer
    assert loops.same_bits(net.state_dict(), state)
    assert (torch.rand(2).tolist(), np.random.rand(), random.random()) == drawn
    net(torch.randn(4, 3)).sum().backward()  # what the module has cached is no tensor of inference mode


@pytest.mark.parametrize("more", [{}, {"bf16": True, "gradient_checkpointing": True}], ids=["fp32", "bf16"])
def test_a_trainer_of_transformers(tmp_path: Path, more: dict[str, Any]) -> None:
    without = loops.trainer(tmp_path / "without", **more)
    without.train()
    probe = cb.ConnectorProbe(loops.pictures(40), every=3, folder=tmp_path / "probe")
    probed = loops.trainer(tmp_path / "probed", [probe.for_trainer()], **more)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="ConnectorProbe")
        probed.train()
    assert probed.losses == without.losses
    assert len(set(without.losses)) > 8
    assert loops.same_bits(probed.model.state_dict(), without.model.state_dict())
    table = probe.to_pandas()
    assert list(table.index) == [0, 3, 6, 8]
    assert "error" not in table
    assert table["knor_10_first"].iloc[0] == 1
    assert table["knor_10_first"].iloc[-1] < 1
    assert (tmp_path / "probe" / "curve.png").stat().st_size > 10_000


def test_dropout_is_on_in_the_tiny_llava() -> None:
    model, processor = loops.llava()
    batch = loops.stacked(loops.conversations(processor, 2))
    assert model(**batch).loss != model(**batch).loss
    model.eval()
    assert model(**batch).loss == model(**batch).loss
