"""The index arithmetic against transformers' own functions and against examples worked by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers.models.llava_next.modeling_llava_next import unpad_image

from connector_bench.connectors import layouts
from connector_bench.connectors.anyres import unpadded
from connector_bench.connectors.boxes import centred, grid_boxes, padded_canvas, within


def test_blocks_of_a_4x4_grid() -> None:
    stored = np.argsort(layouts.blocks((4, 4), 2))
    assert stored.tolist() == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]


def test_blocks_need_whole_blocks() -> None:
    with pytest.raises(ValueError, match="3x4 patches cannot be cut in 2x2"):
        layouts.blocks((3, 4), 2)


def window_index(grid: tuple[int, int], merge: int, side: int, patch: int) -> torch.Tensor:
    """transformers' order of merged cells by window; a method of the tower in older versions."""
    sizes = torch.tensor([[1, *grid]])
    try:
        from transformers.vision_utils import get_vision_window_index
    except ImportError:
        from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
            Qwen2_5_VisionTransformerPretrainedModel as Tower,
        )

        tower = SimpleNamespace(
            window_size=side, spatial_merge_size=merge, patch_size=patch, spatial_merge_unit=merge**2
        )
        return Tower.get_window_index(tower, sizes)[0]
    return get_vision_window_index(sizes, merge, side, patch)[0]


@pytest.mark.parametrize("grid", [(8, 8), (6, 10), (4, 18), (14, 2)])
@pytest.mark.parametrize("window", [2, 3, 4])
def test_windows_are_those_of_transformers(grid: tuple[int, int], window: int) -> None:
    merge, patch = 2, 14
    index = window_index(grid, merge, window * merge * patch, patch)
    cells = layouts.merged(grid, merge)
    assert layouts.windows(cells, window).tolist() == torch.argsort(index).tolist()


def test_packed_pictures_follow_each_other() -> None:
    first, second = layouts.packed([(2, 4), (4, 2)], merge=2, block_order=True)
    assert first.pre_rows.tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    assert second.pre_rows.tolist() == [8, 9, 10, 11, 12, 13, 14, 15]
    assert first.post_rows.tolist() == [0, 1]
    assert second.post_rows.tolist() == [2, 3]
    assert second.layout.tiles[0].post_grid == (2, 1)


def test_tiles_skip_what_is_no_patch() -> None:
    whole = (0.0, 0.0, 1.0, 1.0)
    (place,) = layouts.tiled([[whole, whole]], (2, 2), None, 3, skip_pre=1)
    assert place.pre_rows.tolist() == [1, 2, 3, 4, 6, 7, 8, 9]
    assert place.post_rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert not place.layout.has_places


@pytest.mark.parametrize("size", [(112, 112), (80, 112), (140, 70), (67, 126), (480, 640), (333, 1000)])
@pytest.mark.parametrize("tokens", [(8, 8), (4, 8), (48, 24), (48, 72)])
def test_padding_is_removed_as_the_model_does(size: tuple[int, int], tokens: tuple[int, int]) -> None:
    numbers = torch.arange(tokens[0] * tokens[1]).reshape(1, *tokens)
    rows, columns = unpadded(tokens, size)
    kept = numbers[:, slice(*rows), slice(*columns)]
    assert torch.equal(kept, unpad_image(numbers, size))


def test_boxes() -> None:
    assert grid_boxes((1, 2)) == [(0, 0, 0.5, 1), (0.5, 0, 1, 1)]
    assert within((0.5, 0, 1, 1), (0, 0, 0.5, 0.5)) == (0.5, 0, 0.75, 0.5)
    assert centred((100, 200), (100, 100)) == (0.25, 0, 0.75, 1)
    assert centred((50, 100), (100, 100)) == (0, -0.5, 1, 1.5)
    assert padded_canvas((80, 112), (112, 112)) == (80, 112)
