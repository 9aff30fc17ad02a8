"""Every model of the zoo can be measured: pairs, taps and untrained copies."""

import numpy as np
import pytest
import torch
from PIL import Image

from connector_bench import zoo
from connector_bench.connectors import adapter_for_model
from connector_bench.zoo.named_connectors import CONNECTORS, UNTRAINED


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (224, 224, 3), dtype=np.uint8)) for _ in range(3)]


@pytest.mark.parametrize("name", CONNECTORS)
def test_pairs(name: str, pictures: list[Image.Image]) -> None:
    model = zoo.load(name)
    adapter = adapter_for_model(model)
    assert adapter.add_untrained((0, 1)) is None
    pre = model.encode(pictures)
    for i, pair in enumerate(adapter.capture(pictures)):
        assert torch.allclose(pair.pre, pre[i], atol=1e-5)
        assert torch.allclose(pair.post, model.connect(pre)[i], atol=1e-5)
        assert pair.layout.n_pre == 196
        assert pair.layout.n_post == len(pair.post)
        assert [copy.shape for copy in pair.untrained] == [pair.post.shape] * 2
        assert (pair.pre_normed is not None) == (name in ("patch_merger", "resampler"))
    assert adapter.info.model == f"connector_zoo/{name}-seed0"


def test_an_untrained_copy_is_the_connector_at_its_start(pictures: list[Image.Image]) -> None:
    """A model whose connector was left at the initialisation of seed 0 equals the copy of seed 0, to half precision."""
    adapter = adapter_for_model(zoo.load(f"{UNTRAINED}mlp"))
    adapter.add_untrained((0, 1))
    pair = adapter.capture(pictures)[0]
    same, other = pair.untrained
    assert torch.allclose(same, pair.post, rtol=2e-2, atol=2e-2)
    assert not torch.allclose(other, pair.post, rtol=2e-2, atol=2e-2)
