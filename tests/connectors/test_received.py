"""What is measured behind the connector is what the language model receives, token by token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from connector_bench.connectors import adapter_for_model
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.transformers_adapter import TransformersAdapter
from tests.tiny_vlms.merged_blocks import MERGING
from tests.tiny_vlms.viewing import VIEWING

Tiny = Callable[[str], tuple[Any, Any]]

EXACT = "donot_use_mm_for_euclid_dist"

CANVAS_RASTER = ("llava_next_video", "granite4_vision", "unlimited_ocr")
"""The language model gets the rows of a canvas across its tiles; what is measured is ordered tile by tile."""


def received(adapter: TransformersAdapter, seed: int, size: tuple[int, int]) -> torch.Tensor:
    """Tokens of one picture as the model hands them on, those for further layers joined on the last dimension."""
    fed = adapter.prepare([("picture", coloured_picture(*size, seed))]).inputs[0]
    with torch.inference_mode():
        result = adapter._run(adapter.model, fed.inputs)
    sets = (
        [] if getattr(result, "pooler_output", result) is None else [getattr(result, "pooler_output", result)]
    )
    sets += [tokens for _, tokens in map(of_layer, getattr(result, "deepstack_features", None) or [])]
    return torch.cat([rows(tokens) for tokens in sets], dim=-1)


def of_layer(features: Any) -> tuple[int, Any]:
    """Some models name the layer that each set is for."""
    return features if isinstance(features[0], int) else (0, features)


def rows(tokens: Any) -> torch.Tensor:
    """A tensor of one picture, or the first of a tuple or list of them, as rows."""
    one = tokens if isinstance(tokens, torch.Tensor) else tokens[0]
    return one.reshape(-1, one.shape[-1])


@pytest.mark.parametrize("size", [(112, 80), (70, 140)])
@pytest.mark.parametrize("name", [*MERGING, *VIEWING])
def test_tokens_are_those_that_the_language_model_receives(
    name: str, size: tuple[int, int], tiny: Tiny
) -> None:
    adapter = adapter_for_model(*tiny(name), name)
    assert isinstance(adapter, TransformersAdapter)
    (pair,) = adapter.capture([coloured_picture(*size, 1)])
    ours, theirs = pair.post, received(adapter, 1, size)
    assert ours.shape[1] == theirs.shape[1]
    distances, found = torch.cdist(ours, theirs, compute_mode=EXACT).min(dim=1)
    assert float(distances.max()) < 1e-4
    places = found.tolist()
    assert len(set(places)) == len(places)
    if name not in CANVAS_RASTER:
        assert places == sorted(places)
    rest = sorted(set(range(len(theirs))) - set(places))
    assert torch.equal(theirs[rest], received(adapter, 2, size)[rest]), (
        "what is left out tells of the picture"
    )
