"""Idefics3 and SmolVLM: tiles row by row, the whole picture last; pixel shuffle inside the connector."""

from __future__ import annotations

from dataclasses import replace

from connector_bench.connectors.family import Batch, Family
from connector_bench.connectors.places import thumbnail_last, tiles
from connector_bench.types import Grid


def reported_grid(batch: Batch, index: int) -> Grid:
    """Rows and columns of tiles, as the image processor reports them (0 x 0 where it does not split)."""
    rows, columns = int(batch.inputs["rows"][index][0]), int(batch.inputs["cols"][index][0])
    return max(rows, 1), max(columns, 1)


IDEFICS3 = Family(
    model_types=("idefics3", "smolvlm"),
    connector="pixel shuffle + linear",
    modules=("model.connector",),
    place=tiles(thumbnail_last(reported_grid)),
    nested=True,
    options={"return_row_col_info": True},
)

MODERNVBERT = replace(IDEFICS3, model_types=("modernvbert",))
"""The same tiles and pixel shuffle before a bidirectional text encoder."""

FAMILIES = (IDEFICS3, MODERNVBERT)
