"""Inkling 2: packed patches of pictures padded to whole blocks, blocks of patches merged by a perceptron."""

from __future__ import annotations

from dataclasses import replace

from connector_bench.connectors.family import Batch, Family, PictureSize, Placement
from connector_bench.connectors.layouts import packed
from connector_bench.connectors.places import packed_grids
from connector_bench.types import TokenLayout


def _place(batch: Batch) -> list[Placement]:
    """The processor counts blocks, not patches, and pads a picture with black at the right and below."""
    merge = int(batch.config.vision_config.spatial_merge_size)
    cells = packed_grids(batch)
    placements = packed([(rows * merge, columns * merge) for rows, columns in cells], merge, block_order=True)
    side = merge * int(batch.config.vision_config.patch_size)
    return [
        _padded(one, size, (rows * side, columns * side))
        for one, size, (rows, columns) in zip(placements, batch.sizes, cells, strict=True)
    ]


def _padded(placement: Placement, size: PictureSize, canvas: PictureSize) -> Placement:
    (tile,) = placement.layout.tiles
    box = (0.0, 0.0, canvas[1] / size[1], canvas[0] / size[0])
    layout = TokenLayout((replace(tile, box=box),), placement.layout.n_post)
    return replace(placement, layout=layout)


INKLING2 = Family(
    model_types=("inkling2",),
    connector="patch merger",
    modules=("model.vision_tower.merger",),
    place=_place,
    tokens_per_row=lambda config: int(config.vision_config.spatial_merge_size) ** 2,
    dropped="CLS (before the connector)",
    note="a picture's last blocks may hold padding, which is measured: the language model receives it",
)

FAMILIES = (INKLING2,)
