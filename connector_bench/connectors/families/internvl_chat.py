"""InternVL's own checkpoints (remote code): tiles row by row, a thumbnail last, cut by the wrapper before the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.connectors.boxes import fitted, grid_boxes
from connector_bench.connectors.families.internvl import shuffle
from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.connectors.places import stacked
from connector_bench.connectors.tilings import nearest_grid
from connector_bench.types import WHOLE_PICTURE

if TYPE_CHECKING:
    from jaxtyping import Int


def _place(batch: Batch) -> list[Placement]:
    """The number of tiles tells their grid: of the grids with so many, the one whose shape is nearest the picture's.

    Raises:
        ValueError: there are two tiles, which are no grid with a thumbnail.
    """
    count, (height, width) = batch.pre_shapes[0][0], batch.sizes[0]
    if count == 2:
        raise ValueError("2 tiles are not one, nor a grid of several with a thumbnail")
    boxes = [fitted(batch, batch.sizes[0])]
    if count > 1:
        grid = nearest_grid(count - 1, lambda one: abs(width / height - one[1] / one[0]))
        boxes = [*grid_boxes(grid), WHOLE_PICTURE]
    placements = stacked(batch, [boxes], block=shuffle(batch.config))
    if getattr(batch.config, "ps_version", "v1") != "v1":
        return placements
    return [_column_by_column(placement, shuffle(batch.config) ** 2) for placement in placements]


def _column_by_column(placement: Placement, per_cell: int) -> Placement:
    """The same where cells are stored column by column in each tile, as the shuffle first had it."""
    rows, columns = placement.layout.tiles[0].post_grid or (0, 0)
    stored = np.arange(rows * columns).reshape(columns, rows).T.reshape(-1)

    def moved(cells: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        tile, cell = np.divmod(cells, rows * columns)
        return tile * rows * columns + stored[cell]

    cells, inside = np.divmod(placement.pre_rows, per_cell)
    return replace(placement, pre_rows=moved(cells) * per_cell + inside, post_rows=moved(placement.post_rows))


def _extract_feature(model: Any, inputs: Mapping[str, Any]) -> Any:
    return model.extract_feature(inputs["pixel_values"])


INTERNVL_CHAT = Family(
    model_types=("internvl_chat",),
    connector="pixel shuffle + mlp",
    modules=("mlp1",),
    place=_place,
    run=_extract_feature,
    one_at_a_time=True,
    leading_norm="0",
    tokens_per_row=lambda config: shuffle(config) ** 2,
    dropped="CLS (before the connector)",
    note="the pixel shuffle before the module is undone, so that pre is one token a patch",
)

FAMILIES = (INTERNVL_CHAT,)
