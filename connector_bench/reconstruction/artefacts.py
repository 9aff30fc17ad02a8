"""What a run leaves beside its result file to look at: loss maps of all images, and pictures and masks of some.

    <output_path>/connector_bench/<task>-<12 hex of the model>/
        selection.json                  which images, why, and the documents that show each
        pictures/<image>.webp           longest side at most 448 pixels
        masks/<document>.png            answer masks, one bit a pixel
        maps.json                       the folders that hold the loss maps of the latest run
        scored-<documents>-<rank>of<ranks>/maps-*    loss maps of all images, `lossmaps.pack`
        probes/                         the probes, to be used again

This module writes and reads all but the last two, and reads the maps.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool
from PIL import Image

from connector_bench.reconstruction.lossmaps import LossMap, unpack
from connector_bench.reconstruction.store import read_shard, write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SELECTION, PICTURES, MASKS = "selection.json", "pictures", "masks"
FOLDERS, MAPS = "maps.json", "maps-*.safetensors"
EACH = 12
"""Images that are shown for each reason."""
LONGEST_SIDE = 448
Why = Literal["most lossy", "least lossy", "spread"]
Mask = Bool[np.ndarray, "rows columns"]


@dataclass(frozen=True)
class Selected:
    """One image that is kept to be shown."""

    image: str
    """SHA-256 of its pixels."""
    why: Why
    doc_ids: tuple[int, ...]
    """Documents that show it."""


@dataclass(frozen=True)
class Selection:
    """What is kept to be shown, and the folders with the loss maps of the same run."""

    folders: Sequence[str]
    images: Sequence[Selected]


def select(
    losses: Mapping[str, float], documents: Mapping[str, Sequence[int]], each: int = EACH
) -> list[Selected]:
    """The images of most and of least loss, and some evenly spread over the ranks between."""
    ordered = sorted(losses, key=lambda image: (-losses[image], image))
    most, rest = ordered[:each], ordered[each:]
    least = rest[-each:]
    between = rest[: len(rest) - len(least)]
    count = min(each, len(between))
    spread = [between[(2 * number + 1) * len(between) // (2 * count)] for number in range(count)]
    chosen: list[tuple[Why, list[str]]] = [("most lossy", most), ("least lossy", least), ("spread", spread)]
    return [Selected(image, why, tuple(documents[image])) for why, images in chosen for image in images]


def write_selection(
    folder: Path,
    selection: Selection,
    picture_of: Callable[[int], Picture],
    mask_of: Callable[[int], Mask | None] | None,
) -> None:
    """Write pictures and masks of the selected images, then the selection. Raises OSError as writing does."""
    for name in (PICTURES, MASKS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for one in selection.images:
        picture = picture_of(one.doc_ids[0]).convert("RGB")
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        write_atomically(folder / PICTURES / f"{one.image}.webp", _encoded(picture, "WEBP", quality=85))
        for doc_id in one.doc_ids if mask_of else ():
            mask = mask_of(doc_id)  # type: ignore[misc]
            if mask is not None and mask.any():
                png = _encoded(Image.fromarray(mask), "PNG", optimize=True)
                write_atomically(folder / MASKS / f"{doc_id}.png", png)
    write_atomically(folder / FOLDERS, json.dumps(list(selection.folders)).encode())
    text = json.dumps([asdict(one) for one in selection.images], indent=1)
    write_atomically(folder / SELECTION, text.encode())


def _encoded(picture: Picture, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


class Artefacts:
    """Reads the folder of one task and model."""

    def __init__(self, folder: Path) -> None:
        """ValueError where the folder holds no selection: the run was not finished, or had no `--output_path`."""
        self.folder = folder
        path = folder / SELECTION
        if not path.is_file():
            raise ValueError(
                f"{folder} holds no {SELECTION}: it is no folder that patch_reconstruction has left"
            )
        self.selection = tuple(
            Selected(one["image"], one["why"], tuple(one["doc_ids"]))
            for one in json.loads(path.read_text(encoding="utf-8"))
        )

    def maps(self) -> Iterator[LossMap]:
        """Loss maps of all images, a shard at a time; an image that two runs have scored counts once."""
        given: set[str] = set()
        for name in json.loads((self.folder / FOLDERS).read_text(encoding="utf-8")):
            for path in sorted((self.folder / name).glob(MAPS)):
                for one in unpack(*read_shard(path)):
                    if one.image_id not in given:
                        given.add(one.image_id)
                        yield one

    def maps_of_selection(self) -> dict[str, LossMap]:
        """Loss maps of the selected images."""
        wanted = {one.image for one in self.selection}
        return {one.image_id: one for one in self.maps() if one.image_id in wanted}

    def picture(self, image: str) -> Picture:
        """A selected image. FileNotFoundError where it was not selected."""
        return Image.open(self.folder / PICTURES / f"{image}.webp").convert("RGB")

    def mask(self, doc_id: int) -> Mask | None:
        """The answer mask of a selected image's document; None where it has none."""
        path = self.folder / MASKS / f"{doc_id}.png"
        return np.asarray(Image.open(path).convert("1")) if path.is_file() else None
