"""A signal that the connector removes from half of the patches is missing from exactly those."""

from collections.abc import Iterator

import pytest
import torch

from connector_bench.reconstruction.lossmaps import inside_outside, mask_areas
from connector_bench.types import TokenPair

from .planted import GRID, LAYOUT, WIDTH, board_of, fit, kept, patches, score, values

CHECKERBOARD = (torch.arange(GRID[0])[:, None] + torch.arange(GRID[1])) % 2 == 0


def forgetful_images(count: int, start: int = 0) -> Iterator[tuple[str, TokenPair]]:
    """Four dimensions that nothing else tells of; every other token has lost them."""
    for number in range(start, start + count):
        signal = torch.randn(LAYOUT.n_pre, 4, generator=torch.Generator().manual_seed(10**6 + number))
        pre = torch.cat([patches(number), 2 * signal], 1)
        post = pre.clone()
        post[CHECKERBOARD.flatten(), WIDTH:] = 0
        yield f"image-{number}", TokenPair(pre, post, LAYOUT)


@pytest.fixture(scope="module")
def probes():
    return fit(forgetful_images(250))


def test_the_map_shows_exactly_the_patches_that_lost_something(probes) -> None:
    maps = [score(probes, *one).loss_map for one in forgetful_images(40, start=10_000)]
    mean = torch.stack(maps).mean(0).reshape(GRID)
    lost, kept = mean[CHECKERBOARD], mean[~CHECKERBOARD]
    assert lost.min() > 2 * kept.max()
    worst = mean.flatten().topk(18).indices.sort().values
    assert worst.tolist() == CHECKERBOARD.flatten().nonzero()[:, 0].tolist()


def test_the_loss_inside_a_mask_of_those_patches_is_the_higher_one(probes) -> None:
    (one,) = forgetful_images(1, start=10_000)
    scored = kept(score(probes, *one))[0].loss_map
    mask = CHECKERBOARD.repeat_interleave(10, 0).repeat_interleave(10, 1).numpy()
    inside, outside = inside_outside(scored.loss, mask_areas(scored.layout, mask))
    assert inside == pytest.approx(float(scored.loss[CHECKERBOARD.flatten().numpy()].mean()), rel=1e-6)
    assert outside == pytest.approx(float(scored.loss[~CHECKERBOARD.flatten().numpy()].mean()), rel=1e-6)
    assert inside > outside


def test_the_harness_names_are_there(probes) -> None:
    (one,) = forgetful_images(1, start=10_000)
    wanted = {"r2_ridge", "r2_mlp", "r2_best", "lost", "nonlinear", "nmse", "cosine"}
    assert wanted <= set(kept(score(probes, *one))[0].figures())
    assert wanted <= set(values(board_of(probes, forgetful_images(5, start=10_000))))
