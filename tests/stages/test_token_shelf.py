"""What is kept of tokens, and the coordinates that readers see."""

from __future__ import annotations

import pytest
import torch

from connector_bench.stages.reader_fit import AskedImages
from connector_bench.stages.readers import AttentionReader, LinearReader, ReaderShape
from connector_bench.stages.scene_questions import StageQuestion, Vocabulary
from connector_bench.stages.token_shelf import KEPT, Coordinates, _projection, kept_tokens


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_wide_tokens_are_projected_the_same_way_everywhere() -> None:
    latent, spread = drawn(200, 40), drawn(40, 2 * KEPT, seed=1)
    kept = kept_tokens(latent @ spread)
    assert kept.shape == (200, KEPT)
    assert kept.dtype == torch.bfloat16
    assert torch.equal(kept[:50], kept_tokens(latent[:50] @ spread))
    found = torch.linalg.lstsq(kept.float(), latent).solution
    assert (kept.float() @ found - latent).square().mean() < 1e-3


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        kept_tokens(torch.tensor([[1.0, torch.inf]]))


def test_coordinates_do_not_see_rotation_shift_and_scale() -> None:
    tokens = drawn(500, 12).exp() @ drawn(12, 12, seed=1)
    turn, _ = torch.linalg.qr(drawn(12, 12, seed=2))
    other = torch.nn.functional.pad(3 * tokens @ turn, (0, 4)) - 7
    first, second = (Coordinates.of(list(side.split(50))) for side in (tokens, other))
    assert second.width == first.width == 12
    seen = [map_(side).float() for map_, side in ((first, tokens), (second, other))]
    assert (seen[0] - seen[1]).abs().max() < 0.02 * seen[0].abs().max()


def test_tokens_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to read"):
        Coordinates.of([torch.ones(4, 3), torch.ones(4, 3)])


@pytest.mark.parametrize("reader", [AttentionReader, LinearReader])
def test_padding_is_not_read(reader: type) -> None:
    asked = [StageQuestion("k", "what is it", "a"), StageQuestion("k", "and that", "b")]
    vocabulary = Vocabulary.of(asked)
    tokens = [drawn(3, 5), drawn(7, 5, seed=1)]
    network = reader(ReaderShape(5, 7, len(vocabulary.tokens), len(vocabulary.answers))).eval()
    both = AskedImages.of(tokens, [asked, asked], vocabulary)
    alone = AskedImages.of(tokens[:1], [asked], vocabulary)
    rows = torch.arange(2)
    with torch.no_grad():
        found = both.scores(network, rows)[0]
        assert torch.allclose(found, alone.scores(network, rows[:1])[0], atol=1e-6)


def test_the_projection_goes_to_a_device_once() -> None:
    first, again = (_projection(KEPT + 8, torch.device("meta")) for _ in range(2))
    assert first is again
    assert first.device.type == "meta"
