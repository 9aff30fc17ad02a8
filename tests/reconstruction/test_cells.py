import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from connector_bench.reconstruction.cells import cells_of, is_placed
from connector_bench.reconstruction.patch_boxes import patch_boxes, tile_slices
from connector_bench.types import Tile, TokenLayout

sides = st.integers(1, 14)


@given(sides, sides, sides, sides)
def test_cells_hold_every_patch_exactly_once(h: int, w: int, th: int, tw: int) -> None:
    grid = (min(h, th), min(w, tw))
    layout = TokenLayout((Tile((h, w), grid), Tile((4, 4), (2, 2))), grid[0] * grid[1] + 4)
    cells = cells_of(layout)
    patches = torch.cat([one.patches.flatten() for one in cells]).sort().values
    tokens = torch.cat([one.tokens for one in cells]).sort().values
    assert patches.tolist() == list(range(layout.n_pre))
    assert tokens.tolist() == list(range(layout.n_post))


def test_merging_connectors_have_square_cells_in_raster_order() -> None:
    (cells,) = cells_of(TokenLayout((Tile((4, 6), (2, 3)),), 6))
    assert cells.shape == (2, 2)
    assert cells.patches[4].tolist() == [14, 15, 20, 21]
    assert cells.tokens[4] == 4


def test_a_second_tile_starts_after_the_first() -> None:
    (cells,) = cells_of(TokenLayout((Tile((2, 2), (1, 1)), Tile((2, 4), (1, 2))), 3))
    assert cells.patches.tolist() == [[0, 1, 2, 3], [4, 5, 8, 9], [6, 7, 10, 11]]


def test_grids_whose_ratio_is_no_whole_number() -> None:
    cells = {one.shape: len(one.tokens) for one in cells_of(TokenLayout((Tile((27, 27), (14, 14)),), 196))}
    assert cells == {(2, 2): 169, (2, 1): 13, (1, 2): 13, (1, 1): 1}


@pytest.mark.parametrize("post_grid", [None, (3, 2)])
def test_layouts_without_a_map_from_token_to_patches(post_grid: tuple[int, int] | None) -> None:
    layout = TokenLayout((Tile((2, 2), post_grid),), 6)
    assert not is_placed(layout)
    with pytest.raises(ValueError, match="attention probe"):
        cells_of(layout)


def test_grids_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="hold 4 connector tokens, the layout says 5"):
        cells_of(TokenLayout((Tile((4, 4), (2, 2)),), 5))


def test_boxes_lie_where_the_tile_lies() -> None:
    layout = TokenLayout((Tile((1, 1), (1, 1)), Tile((2, 2), (2, 2), (0.5, 0.0, 1.5, 1.0))), 5)
    boxes = patch_boxes(layout)
    np.testing.assert_allclose(boxes[0], (0, 0, 1, 1))
    np.testing.assert_allclose(boxes[3], (0.5, 0.5, 1.0, 1.0))
    np.testing.assert_allclose(boxes[2], (1.0, 0.0, 1.5, 0.5))
    assert [(part.start, part.stop) for _, part in tile_slices(layout)] == [(0, 1), (1, 5)]
