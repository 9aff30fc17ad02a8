"""A few loss maps of a run for its row's detail, and, where the submitter wants it, the pictures below them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from connector_bench.leaderboard.schema import StoredLossMap
from connector_bench.results.harness_files import ResultFile, UnusableResult

if TYPE_CHECKING:
    from connector_bench.reconstruction.artefacts import Artefacts, Selected
    from connector_bench.reconstruction.lossmaps import LossMap as RecordedMap

SHOWN = ("most lossy", "spread", "least lossy")
"""One picture is shown for each reason that a run kept pictures for."""

FINEST = 24
"""Rows and columns of a map whose patches lie in several tiles."""

NOWHERE = -1.0
"""In a map: no patch lies here."""

PICTURES = "pictures"
LONGEST_SIDE = 224


def loss_maps(file: ResultFile, task: str, pictures: bool) -> tuple[StoredLossMap, ...]:
    """Maps of one picture for each reason, none where the run left none. Raises UnusableResult for a broken folder."""
    artefacts = _artefacts(file, task)
    if artefacts is None:
        return ()
    from safetensors import SafetensorError

    try:
        recorded = artefacts.maps_of_selection()
        return tuple(
            _map(one.image, one.why, recorded[one.image], pictures)
            for one in _shown(artefacts)
            if one.image in recorded
        )
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise UnusableResult(f"{artefacts.folder}: its loss maps cannot be read: {error!r}") from error


def pictures(file: ResultFile) -> dict[str, bytes]:
    """The pictures of all of a run's loss maps, small, by their path below the board."""
    from PIL import Image

    found = {}
    for task in file.records:
        artefacts = _artefacts(file, task)
        for one in _shown(artefacts) if artefacts else ():
            try:
                picture = artefacts.picture(one.image)  # type: ignore[union-attr]
            except (OSError, Image.DecompressionBombError) as error:
                raise UnusableResult(f"{file.path}: a picture cannot be read: {error}") from error
            picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            stream = io.BytesIO()
            picture.save(stream, "WEBP", quality=80)
            found[picture_path(one.image)] = stream.getvalue()
    return found


def picture_path(image: str) -> str:
    """Where a picture lies below the board."""
    return f"{PICTURES}/{image}.webp"


def _artefacts(file: ResultFile, task: str) -> Artefacts | None:
    folder = file.left_behind(task)
    if folder is None or file.records[task].get("measure") != "patch_reconstruction":
        return None
    from connector_bench.reconstruction.artefacts import SELECTION, Artefacts

    if not (folder / SELECTION).is_file():  # tokens without their pictures leave none to be shown
        return None
    try:
        return Artefacts(folder)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UnusableResult(f"{folder}: {error}") from error


def _shown(artefacts: Artefacts) -> Iterator[Selected]:
    for why in SHOWN:
        yield from [one for one in artefacts.selection if one.why == why][:1]


def _map(image: str, why: str, recorded: RecordedMap, pictures: bool) -> StoredLossMap:
    values = raster(recorded)
    return StoredLossMap(
        image=image,
        why=why,
        rows=values.shape[0],
        columns=values.shape[1],
        values=tuple(float(f"{value:.3g}") for value in values.ravel()),
        picture=picture_path(image) if pictures else None,
    )


def raster(recorded: RecordedMap) -> np.ndarray:
    """Losses over the whole picture [rows, columns]; where patches overlap, the smallest says what a cell shows."""
    from connector_bench.reconstruction.patch_boxes import patch_boxes
    from connector_bench.types import WHOLE_PICTURE

    losses = recorded.loss.astype(np.float64)
    tiles = recorded.layout.tiles
    if len(tiles) == 1 and tiles[0].box == WHOLE_PICTURE:
        return losses.reshape(tiles[0].pre_grid)
    boxes = patch_boxes(recorded.layout)
    centres = (np.arange(FINEST) + 0.5) / FINEST
    cells = np.full((FINEST, FINEST), NOWHERE)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for patch in np.argsort(-area, kind="stable"):
        left, top, right, bottom = boxes[patch]
        across, down = (centres >= left) & (centres < right), (centres >= top) & (centres < bottom)
        cells[np.ix_(down, across)] = losses[patch]
    return cells
