"""Connectors without places: the attention probe has to find which token holds which patch."""

from dataclasses import replace

import pytest
import torch

from connector_bench.reconstruction.probes.attention_probe import AttentionProbe, AttentionShape, TokenPlaces
from connector_bench.reconstruction.probes.training_loop import Schedule
from connector_bench.types import Tile, TokenLayout, TokenPair

from .planted import board_of, fit, patches, predict, small_config, values

WIDTH, ROWS, COLUMNS = 16, 2, 3
BARE = TokenLayout((Tile((ROWS, COLUMNS), None),), ROWS * COLUMNS)


def resampled(count: int, start: int = 0, keep: int = ROWS * COLUMNS):
    """The patches in a fixed order that nobody is told; with `keep` fewer, the rest is thrown away."""
    order = torch.randperm(ROWS * COLUMNS, generator=torch.Generator().manual_seed(1))[:keep]
    layout = replace(BARE, n_post=keep)
    for number in range(start, start + count):
        pre = patches(number, BARE)
        yield f"image-{number}", TokenPair(pre, pre[order], layout)


def config(epochs: int = 10):
    schedule = Schedule(epochs=epochs, batch_size=32, learning_rate=5e-3)
    return small_config(
        attention_images=600,
        attention_schedule=schedule,
        attention_width=64,
        attention_heads=4,
        attention_layers=1,
    )


def test_tokens_in_an_unknown_order_are_found() -> None:
    probes = fit(resampled(300), config())
    found = values(board_of(probes, resampled(60, start=10_000)))
    assert found["r2_attention"] > 0.9
    assert found["r2_attention"] > found["r2_pooled"] + 0.2
    assert "r2_ridge" not in found
    assert "nonlinear" not in found
    assert probes.learning_curve.best == "attention"


def test_the_untrained_probe_is_the_ridge_from_pooled_tokens() -> None:
    probes = fit(resampled(120), config(epochs=0))
    assert probes.attention is not None
    assert probes.attention.training.steps == 0
    predicted = predict(probes, next(resampled(1, start=5000))[1])
    torch.testing.assert_close(predicted["attention"], predicted["pooled"], rtol=1e-4, atol=1e-3)


def test_padding_changes_nothing() -> None:
    probe = AttentionProbe(AttentionShape(4, 3, max_tokens=8, width=16, heads=4, layers=2)).eval()
    tokens, boxes = torch.randn(1, 5, 4), torch.rand(1, 7, 4)
    places = TokenPlaces.of(TokenLayout((Tile((1, 7), None),), 5))
    padded = torch.cat([tokens, torch.full((1, 3, 4), 1e3)], 1)
    index = torch.cat([places.index, torch.zeros(1, 3, dtype=torch.int64)], 1)
    wide = TokenPlaces(index, torch.cat([places.boxes, torch.zeros(1, 3, 4)], 1), torch.arange(8)[None] >= 5)
    with torch.no_grad():
        torch.testing.assert_close(probe(tokens, places, boxes), probe(padded, wide, boxes))


def test_tokens_are_numbered_within_their_tile() -> None:
    box = (0.0, 0.0, 0.5, 0.5)
    places = TokenPlaces.of(TokenLayout((Tile((2, 2), None), Tile((2, 2), None, box)), 6))
    assert places.index.tolist() == [[0, 1, 2, 0, 1, 2]]
    assert places.boxes[0, 4].tolist() == list(box)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        AttentionShape(4, 4, 4, width=48, heads=5)


def test_attention_can_stand_beside_the_patch_probes() -> None:
    from .planted import images

    probes = fit(images(40), small_config(attention="always"))
    assert set(predict(probes, next(images(1))[1])) == {"ridge", "mlp", "pooled", "attention"}
