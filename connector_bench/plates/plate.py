"""One gallery's plate, as a file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from connector_bench.plates.drawing import neighbour_plate
from connector_bench.results.harness_files import as_file_name

if TYPE_CHECKING:
    from PIL.Image import Image

    from connector_bench.plates.neighbour_gallery import Documents, NeighbourGallery

LONGEST_SIDE = 336
"""Pixels; larger pictures are reduced before they are drawn."""


def draw_plate(
    folder: Path, gallery: NeighbourGallery, rows: Sequence[int], columns: int, documents: Documents
) -> Path:
    """Draw `<model>-<task>.png` in a folder. Raises what `Gallery.picture` raises, ValueError where
    the run kept fewer neighbours, OSError."""
    nearest = gallery.nearest
    if columns > nearest.columns:
        raise ValueError(
            f"{gallery.task}: the run kept {nearest.columns} neighbours, {columns} were asked for"
        )

    @cache
    def picture(row: int) -> Image:
        found = gallery.picture(row, documents).convert("RGB")
        found.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        return found

    captions = {row: gallery.caption(row, documents) for row in _shown(gallery, rows, columns)}
    options = gallery.of.record.get("options") or {}
    return neighbour_plate(
        folder / f"{as_file_name(gallery.model)}-{as_file_name(gallery.task)}.png",
        picture,
        rows,
        nearest.pre,
        nearest.post,
        columns=columns,
        captions=captions,
        title=f"{gallery.model}, {gallery.task}: N = {len(nearest.images)}, {options.get('distance', 'l2')}",
    )


def _shown(gallery: NeighbourGallery, rows: Sequence[int], columns: int) -> set[int]:
    sides = (gallery.nearest.pre, gallery.nearest.post)
    return {*rows} | {int(row) for query in rows for side in sides for row in side[query, :columns]}
