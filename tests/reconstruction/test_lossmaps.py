import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector_bench.reconstruction.lossmaps import LossMap, inside_outside, mask_areas, pack, unpack
from connector_bench.types import Tile, TokenLayout

TILED = TokenLayout(
    (
        Tile((2, 3), (2, 3)),
        Tile((2, 2), (1, 1), (0.0, 0.0, 0.5, 1.0)),
        Tile((2, 2), None, (0.5, -0.25, 1.25, 1.0)),
    ),
    12,
)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 9), columns=st.integers(1, 9), seed=st.integers(0, 99))
def test_areas_are_exact(rows: int, columns: int, seed: int) -> None:
    """Against the same mask and patches on a grid fine enough to hold all their edges."""
    mask = np.random.default_rng(seed).random((rows, columns)) < 0.5
    layout = TokenLayout((Tile((4, 5), (4, 5)),), 20)
    fine = np.kron(mask, np.ones((4, 5)))
    blocks = fine.reshape(4, rows, 5, columns).mean((1, 3))
    areas = mask_areas(layout, mask)
    np.testing.assert_allclose(areas.inside, blocks.ravel() / 20, atol=1e-12)
    np.testing.assert_allclose(areas.inside + areas.outside, 1 / 20, atol=1e-12)


def test_each_layer_of_tiles_holds_the_mask_once_and_padding_holds_nothing() -> None:
    mask = np.zeros((40, 60), dtype=bool)
    mask[5:30, 10:50] = True
    areas = mask_areas(TILED, mask)
    share = mask.mean()
    assert areas.inside[:6].sum() == pytest.approx(share)
    assert areas.inside[6:].sum() == pytest.approx(share)
    assert areas.outside[6:].sum() == pytest.approx(1 - share)
    everything = mask_areas(TILED, np.ones((40, 60), dtype=bool))
    assert everything.outside.sum() == pytest.approx(0, abs=1e-12)
    assert everything.inside[10:].sum() == pytest.approx(0.5)


def test_a_crop_takes_the_masks_rest_with_it() -> None:
    """The middle half of a picture was kept: a mask at its edge is gone, one in the middle whole."""
    cropped = TokenLayout((Tile((2, 2), (2, 2), (0.25, 0.0, 0.75, 1.0)),), 4)
    edge, middle = np.zeros((8, 8), dtype=bool), np.zeros((8, 8), dtype=bool)
    edge[:, :2], middle[:4, 2:4] = True, True
    assert mask_areas(cropped, edge).inside.sum() == 0
    values = np.array([1.0, 2, 3, 4])
    assert inside_outside(values, mask_areas(cropped, middle)) == (1.0, pytest.approx(3.0))
    inside, outside = inside_outside(values, mask_areas(cropped, edge))
    assert math.isnan(inside)
    assert outside == pytest.approx(2.5)


@pytest.mark.parametrize(
    "mask", [np.ones((4, 4)), np.ones((2, 2, 3), dtype=bool), np.ones((0, 4), dtype=bool)]
)
def test_what_is_no_mask_is_refused(mask) -> None:
    """A folder of segmentation masks read as photographs, and the other way round."""
    with pytest.raises((ValueError, TypeError), match=r"a mask is a boolean image|parameter 'mask'"):
        mask_areas(TILED, mask)


def test_values_and_patches_must_match() -> None:
    with pytest.raises(ValueError, match="3 values for 14 patches"):
        inside_outside(np.zeros(3), mask_areas(TILED, np.ones((2, 2), dtype=bool)))


def test_maps_of_unequal_layouts_come_back_in_float16() -> None:
    single = TokenLayout((Tile((3, 2), (3, 2)),), 6)
    draw = np.random.default_rng(0)
    maps = [
        LossMap(f"image {number}", layout, *draw.random((3, layout.n_pre), np.float32) * 3)
        for number, layout in enumerate([TILED, single, TILED])
    ]
    tensors, meta = pack(maps)
    assert len(meta["layouts"]) == 2
    assert sum(tensor.nbytes for tensor in tensors.values()) == 6 * (14 + 6 + 14)
    for before, after in zip(maps, unpack(tensors, meta), strict=True):
        assert (after.image_id, after.layout) == (before.image_id, before.layout)
        np.testing.assert_allclose(after.loss, before.loss, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(after.norm_difference, before.norm_difference, rtol=1e-3, atol=1e-3)
    assert unpack(*pack([])) == []
