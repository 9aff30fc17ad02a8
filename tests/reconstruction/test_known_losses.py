"""Connectors that are not linear and whose loss is known: the ladder never says less, and how much more it says."""

import numpy as np
import pytest
import torch

from benchmarks.oracles import Flow, Oracle, Quantiser, measured
from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.probes.training_loop import Schedule

WIDTH, HIDDEN, ROWS = 16, 16, 12_000
CONFIG = ReconstructionConfig(mlp_width=128, schedule=Schedule(epochs=12, batch_size=128, learning_rate=3e-3))


def test_a_flow_is_invertible_and_far_from_linear() -> None:
    x = torch.randn(500, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flow = Flow(WIDTH, depth=4, hidden=HIDDEN)
    assert torch.allclose(flow.inverse(flow(x)), x, atol=1e-9)
    assert not torch.allclose(flow(x[:250]) + flow(x[250:]), flow(x[:250] + x[250:]), atol=1)


@pytest.mark.parametrize(("bits", "published"), [(1, 0.3634), (2, 0.1175), (3, 0.03454)])
def test_a_quantisers_loss_is_the_published_one_and_what_sampling_gives(bits: int, published: float) -> None:
    """Max, IRE Transactions 6 (1960) 7, table I."""
    quantiser = Quantiser(bits)
    assert quantiser.loss == pytest.approx(published, rel=2e-3)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(200_000, 1)))
    assert len(np.unique(quantiser(x).numpy())) == 2**bits
    assert float((quantiser(x) - x).square().mean()) == pytest.approx(quantiser.loss, rel=0.02)


@pytest.mark.parametrize(
    ("oracle", "most_missed"),
    [
        (Oracle.flow(WIDTH, 1, HIDDEN), 0.05),
        (Oracle.flow(WIDTH, 2, HIDDEN), 0.15),
        (Oracle.quantiser(WIDTH, 2, HIDDEN), 0.05),
    ],
    ids=lambda given: getattr(given, "name", ""),
)
def test_the_ladder_says_no_less_than_is_lost_and_misses_no_more_than_is_said(
    oracle: Oracle, most_missed: float
) -> None:
    found = measured(oracle, WIDTH, ROWS, CONFIG)
    assert found.ridge - found.mlp > 0.03, "what is kept is not linearly readable"
    assert found.known - 0.01 < found.mlp < found.known + most_missed
