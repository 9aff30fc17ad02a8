"""Loss maps of a run for its row's detail, of the same pictures for every model, and those pictures where wanted."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from connector_bench.leaderboard.schema import StoredLossMap
from connector_bench.results.harness_files import ResultFile, UnusableResult

if TYPE_CHECKING:
    from connector_bench.reconstruction.artefacts import Artefacts
    from connector_bench.reconstruction.lossmaps import LossMap as RecordedMap

SAME = "the same picture for every model"
"""Why a picture is shown: its hash is among the smallest, whatever was lost of it."""

FINEST = 24
"""Rows and columns of a map whose patches lie in several tiles."""

NOWHERE = -1.0
"""In a map: no patch lies here."""

PICTURES = "pictures"
LONGEST_SIDE = 224


def loss_maps(file: ResultFile, task: str, pictures: bool) -> tuple[StoredLossMap, ...]:
    """Maps of the pictures that are shown of every model, none where the run left none.

    Raises UnusableResult for a broken folder.
    """
    artefacts = _artefacts(file, task)
    if artefacts is None:
        return ()
    from safetensors import SafetensorError

    from connector_bench.reconstruction.artefacts import same_for_all

    try:
        recorded = {one.image_id: one for one in artefacts.maps()}
        return tuple(_map(image, recorded[image], pictures) for image in same_for_all(recorded))
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise UnusableResult(f"{artefacts.folder}: its loss maps cannot be read: {error!r}") from error


def pictures(file: ResultFile) -> dict[str, bytes]:
    """The pictures of all of a run's loss maps, small, by their path below the board; those that the run kept."""
    from PIL import Image

    found = {}
    for task in file.records:
        artefacts = _artefacts(file, task)
        for shown in loss_maps(file, task, pictures=True) if artefacts else ():
            try:
                picture = artefacts.picture(shown.image)  # type: ignore[union-attr]
            except FileNotFoundError:
                continue
            except (OSError, ValueError, Image.DecompressionBombError) as error:
                raise UnusableResult(f"{file.path}: a picture cannot be read: {error}") from error
            picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            stream = io.BytesIO()
            picture.save(stream, "WEBP", quality=80)
            found[picture_path(shown.image)] = stream.getvalue()
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


def _map(image: str, recorded: RecordedMap, pictures: bool) -> StoredLossMap:
    values = raster(recorded)
    return StoredLossMap(
        image=image,
        why=SAME,
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
