"""Half precision is blamed where tokens have it, and nowhere else, whichever measure meets them."""

from __future__ import annotations

import pytest
import torch

import connector_bench as cb
from connector_bench.preservation.pooled import PooledPreservation
from connector_bench.reconstruction.probes.sample import ProbeSample
from connector_bench.types import Tile, TokenBatch, TokenLayout, TokenPair
from tests.bare_modules import Patches, pixels
from tests.test_api import pictures

BLAMED = {
    torch.float16: "NaN or infinity; half precision may have overflowed: load the model in float32 or bfloat16$",
    torch.bfloat16: "NaN or infinity; bfloat16 hardly overflows: look at the model's weights, and at this picture$",
    torch.float32: "NaN or infinity; float32 hardly overflows: look at the model's weights, and at this picture$",
}


@pytest.mark.parametrize("dtype", BLAMED)
def test_of_a_model_whose_weights_are_nan_in_this_precision(dtype: torch.dtype) -> None:
    connector = torch.nn.Linear(24, 12).requires_grad_(False)
    connector.weight[3, 4] = torch.nan
    with pytest.raises(ValueError, match=rf"^8 of 8 .*post \(the connector's output\) hold {BLAMED[dtype]}"):
        cb.capture((Patches().to(dtype).eval(), connector.to(dtype).eval()), pictures(8), pixels)


@pytest.mark.parametrize("dtype", BLAMED)
@pytest.mark.parametrize("side", ["pre", "post"])
def test_of_tokens_that_a_measure_is_given(dtype: torch.dtype, side: str) -> None:
    tokens = {"pre": torch.ones(4, 3, dtype=dtype), "post": torch.ones(4, 5)}
    tokens[side] = tokens[side].to(dtype).index_fill(1, torch.tensor([1]), torch.inf)
    layout = TokenLayout((Tile((2, 2), (2, 2)),), n_post=4)
    batch = TokenBatch.of(["abc"], [TokenPair(layout=layout, **tokens)])
    says = rf"^features of image abc at {side} \(the connector's .*put\) hold {BLAMED[dtype]}"
    with pytest.raises(ValueError, match=says):
        PooledPreservation(cb.PreservationOptions()).update(batch)
    with pytest.raises(ValueError, match=says):
        ProbeSample(cb.ReconstructionConfig()).learn(batch)
