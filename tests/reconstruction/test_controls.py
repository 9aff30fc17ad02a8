"""The oracles: connectors whose loss is known beforehand."""

from dataclasses import replace

import pytest
import torch

from connector_bench.reconstruction.probes.cell_fit import nested
from connector_bench.reconstruction.probes.linear import (
    identity,
    projection,
    rotation,
)
from connector_bench.reconstruction.probes.ridge import best_linear_r2
from connector_bench.reconstruction.probes.sample import ProbeSample
from connector_bench.types import Tile, TokenLayout, TokenPair

from .planted import (
    GRID,
    WIDTH,
    as_connector,
    board_of,
    covariance,
    fit,
    images,
    kept,
    learn,
    score,
    shuffled,
    small_config,
    through,
    values,
)

TRAINING, TEST = 220, 60


def figures(connector, config=None) -> dict[str, float]:
    probes = fit(through(connector, images(TRAINING)), config)
    return values(board_of(probes, through(connector, images(TEST, start=10_000))))


@pytest.mark.parametrize(
    "control", [identity(WIDTH), rotation(WIDTH, seed=3)], ids=lambda control: control.name
)
def test_identity_and_rotation_lose_nothing(control) -> None:
    found = figures(as_connector(control))
    assert found["r2_ridge"] >= 0.999
    assert found["r2_mlp"] >= 0.999
    assert found["r2_median_ridge"] >= 0.999
    assert found["lost"] <= 0.001
    assert found["cosine"] >= 0.999
    assert found["r2_mean"] == 0


def test_the_rotation_is_one() -> None:
    matrix = rotation(WIDTH, seed=3).matrix
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(WIDTH).double())
    assert not torch.equal(matrix, rotation(WIDTH, seed=4).matrix)


@pytest.mark.parametrize("rank", [2, 8])
def test_ridge_meets_the_closed_form_of_a_rank_r_projection(rank: int) -> None:
    control = projection(WIDTH, rank)
    config = small_config(schedule=replace(small_config().schedule, epochs=0))
    probes = fit(through(as_connector(control), images(150)), config)
    found = values(board_of(probes, through(as_connector(control), images(150, start=10_000))))
    seen = torch.cat([pair.pre for _, pair in images(150, start=10_000)]).double().T.cov()
    assert found["r2_ridge"] == pytest.approx(best_linear_r2(seen, control.matrix), abs=0.005)
    assert found["r2_ridge"] == pytest.approx(best_linear_r2(covariance(), control.matrix), abs=0.03)
    sample = ProbeSample(config)
    for image_id, pair in images(150):
        learn(sample, image_id, pair)
    (cells,) = sample.cells.values()
    ((_, moments),) = nested(cells.moments, False, torch.device("cpu"))
    closed = best_linear_r2(moments.xx / moments.n, control.matrix)
    assert found["r2_ridge"] == pytest.approx(closed, abs=0.03)


def test_shuffled_pairs_are_worth_nothing() -> None:
    probes = fit(shuffled(images(TRAINING)))
    found = values(board_of(probes, shuffled(images(TEST, start=10_000))))
    assert found["r2_ridge"] <= 0.01
    assert found["r2_mlp"] <= 0.01
    assert found["r2_best"] <= 0.01
    assert found["lost"] >= 0.99


def test_shuffling_pairs_every_picture_with_another() -> None:
    pairs = dict(images(5))
    for image_id, pair in shuffled(images(5)):
        assert pair.pre.sort(0).values.equal(pairs[image_id].pre.sort(0).values)
        assert not pair.pre.equal(pairs[image_id].pre)
        assert not pair.post.equal(pairs[image_id].post)
    assert len(list(shuffled(images(5)))) == 5
    with pytest.raises(ValueError, match="two images"):
        list(shuffled(images(1)))


def pixel_shuffle(pair: TokenPair) -> TokenPair:
    """2 x 2 patches side by side in one token: shorter, and nothing lost."""
    blocks = pair.pre.unflatten(0, GRID).unflatten(1, (3, 2)).unflatten(0, (3, 2))
    post = blocks.permute(0, 2, 1, 3, 4).flatten(2).flatten(0, 1)
    return replace(pair, post=post, layout=TokenLayout((Tile(GRID, (3, 3)),), 9))


def average_pool(pair: TokenPair) -> TokenPair:
    merged = pixel_shuffle(pair)
    return replace(merged, post=merged.post.unflatten(1, (4, WIDTH)).mean(1))


def test_pixel_shuffle_loses_nothing() -> None:
    found = figures(pixel_shuffle)
    assert found["r2_ridge"] >= 0.999
    assert found["r2_mlp"] >= 0.999


def test_average_pooling_loses_what_the_covariance_says() -> None:
    """Patches of a cell share 0.49 of 1.49: their mean explains ((1 + 4 x .49) / 4) / 1.49 of each."""
    found = figures(average_pool)
    assert found["r2_ridge"] == pytest.approx((1 + 4 * 0.49) / 4 / 1.49, abs=0.02)


def test_tiles_and_unequal_grids_lose_nothing_either() -> None:
    """Each 5 x 4 tile over 3 x 2 tokens: a token that holds its cell's patches, padded with zeros."""
    layout = TokenLayout((Tile((5, 4), (3, 2)), Tile((4, 4), (2, 2), (0, 0, 0.5, 0.5))), 10)
    from connector_bench.reconstruction.cells import cells_of

    def merge(pair: TokenPair) -> TokenPair:
        post = torch.zeros(10, 4 * WIDTH)
        for cells in cells_of(layout):
            block = pair.pre[cells.patches].flatten(1)
            post[cells.tokens, : block.shape[1]] = block
        return replace(pair, post=post, layout=layout)

    probes = fit(through(merge, images(TRAINING, layout=layout)))
    assert set(probes.cells) == {(2, 2), (1, 2)}
    board = board_of(probes, through(merge, images(TEST, start=10_000, layout=layout)))
    found = values(board)
    assert board.unfitted_patches == 0
    assert found["r2_ridge"] >= 0.999
    assert found["r2_mlp"] >= 0.999


def test_a_cell_shape_that_no_training_image_had_gets_the_mean_and_is_counted() -> None:
    probes = fit(images(60))
    odd = TokenLayout((Tile((2, 1), (1, 1)),), 1)
    pair = TokenPair(next(images(1))[1].pre[:2], torch.zeros(1, WIDTH), odd)
    (scored,) = kept(score(probes, "odd", pair))
    assert scored.unfitted_patches == 2
    assert scored.r2("ridge") == 0
