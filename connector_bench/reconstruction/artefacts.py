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
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from heapq import nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from jaxtyping import Bool
from PIL import Image
from pydantic import BaseModel, Field, NonNegativeInt, TypeAdapter, ValidationError

from connector_bench.atomic_files import make_folder, write_atomically
from connector_bench.foreign_files import file_inside, first_error, read_json
from connector_bench.pictures import strict_decoding
from connector_bench.reconstruction.lossmaps import MEASURES, LossMap, unpack
from connector_bench.reconstruction.shard_files import opened_shard

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SELECTION, PICTURES, MASKS = "selection.json", "pictures", "masks"
FOLDERS, MAPS = "maps.json", "maps-*.safetensors"
EACH = 12
"""Images that are shown for each reason."""
SAME_FOR_ALL = 6
"""Images that are shown of every model, so that models are looked at side by side."""
LONGEST_SIDE = 448
LONGEST_MASK = 32_768
Why = Literal["most lossy", "least lossy", "spread"]
Mask = Bool[np.ndarray, "rows columns"]
_ImageName = Annotated[str, Field(pattern="^[0-9A-Za-z_-]{1,64}$")]
_Grid = tuple[Annotated[int, Field(ge=1, le=4096)], Annotated[int, Field(ge=1, le=4096)]]
_Place = Annotated[float, Field(ge=-100, le=100)]


@dataclass(frozen=True)
class Selected:
    """One image that is kept to be shown."""

    image: _ImageName
    """SHA-256 of its pixels."""
    why: Why
    doc_ids: tuple[NonNegativeInt, ...]
    """Documents that show it."""


@dataclass(frozen=True)
class Selection:
    """What is kept to be shown, and the folders with the loss maps of the same run."""

    folders: Sequence[str]
    images: Sequence[Selected]
    beside: Mapping[str, int] = field(default_factory=dict)
    """Further images whose pictures are kept, each with a document that shows it."""


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


def same_for_all(images: Iterable[str]) -> list[str]:
    """The images that are shown whatever the model: those of the smallest hashes, which no figure has chosen."""
    return nsmallest(SAME_FOR_ALL, images)


def write_selection(
    folder: Path,
    selection: Selection,
    picture_of: Callable[[int], Picture],
    mask_of: Callable[[int], Mask | None] | None,
) -> None:
    """Write pictures, and masks of the selected images, then the selection. NotWritten where the disk refuses."""
    for name in (PICTURES, MASKS):
        make_folder(folder / name)
    first = {one.image: one.doc_ids[0] for one in selection.images}
    for image, shown_by in {**selection.beside, **first}.items():
        picture = picture_of(shown_by).convert("RGB")
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        write_atomically(folder / PICTURES / f"{image}.webp", _encoded(picture, "WEBP", quality=85))
    for one in selection.images:
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


class _Layout(BaseModel):
    tiles: list[tuple[_Grid, _Grid | None, tuple[_Place, _Place, _Place, _Place]]]
    n_post: NonNegativeInt


class _MapsHeader(BaseModel):
    """What stands beside the values of loss maps, as `lossmaps.pack` writes it."""

    images: list[_ImageName]
    layout_of_image: list[NonNegativeInt]
    layouts: list[_Layout]


class Artefacts:
    """Reads the folder of one task and model, whoever wrote it: nothing from outside it, and no link is followed."""

    def __init__(self, folder: Path) -> None:
        """ValueError where the folder holds no selection: the run was not finished, or had no `--output_path`."""
        self.folder = folder
        try:
            listed = read_json(file_inside(folder, SELECTION))
        except FileNotFoundError:
            raise ValueError(
                f"{folder} holds no {SELECTION}: it is no folder that patch_reconstruction has left"
            ) from None
        self.selection = _held(tuple[Selected, ...], listed, folder / SELECTION)

    def maps(self) -> Iterator[LossMap]:
        """Loss maps of all images, a shard at a time; an image that two runs have scored counts once.

        ValueError for shards that hold none.
        """
        given: set[str] = set()
        path = file_inside(self.folder, FOLDERS)
        for name in _held(list[_ImageName], read_json(path), path):
            for shard in sorted((self.folder / name).glob(MAPS)):
                for one in maps_in(file_inside(self.folder, name, shard.name)):
                    if one.image_id not in given:
                        given.add(one.image_id)
                        yield one

    def maps_of_selection(self) -> dict[str, LossMap]:
        """Loss maps of the selected images."""
        wanted = {one.image for one in self.selection}
        return {one.image_id: one for one in self.maps() if one.image_id in wanted}

    def picture(self, image: str) -> Picture:
        """A picture that was kept. FileNotFoundError where it was not, ValueError for what is no such picture."""
        return _decoded(file_inside(self.folder, PICTURES, f"{image}.webp"), "WEBP", "RGB", LONGEST_SIDE)

    def mask(self, doc_id: int) -> Mask | None:
        """The answer mask of a selected image's document; None where it has none."""
        try:
            path = file_inside(self.folder, MASKS, f"{doc_id}.png")
        except FileNotFoundError:
            return None
        return np.asarray(_decoded(path, "PNG", "1", LONGEST_MASK))


def _held(kind: Any, value: Any, path: Path) -> Any:
    """The value as a file must hold it. ValueError naming file and place where it does not."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{path}: {first_error(error)}") from None


def maps_in(path: Path) -> list[LossMap]:
    """The loss maps of one shard. ValueError where it holds none, or others than it says."""
    with opened_shard(path, "np") as (file, meta):
        kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (no mapping)
        packed = {name: file.get_tensor(name) for name in MEASURES if kinds.get(name) == "F16"}
    header = _held(_MapsHeader, meta, path)
    if not all(number < len(header.layouts) for number in header.layout_of_image):
        raise ValueError(f"{path}: an image has a layout that is not there")
    patches = [sum(math.prod(pre) for pre, _, _ in layout.tiles) for layout in header.layouts]
    wanted = sum(patches[number] for number in header.layout_of_image)
    for name in MEASURES:
        if name not in packed or packed[name].shape != (wanted,) or not np.isfinite(packed[name]).all():
            raise ValueError(f"{path}: {name} is not {wanted} finite numbers of 16 bits, one a patch")
    return unpack(packed, meta)


def _decoded(path: Path, kind: str, mode: str, longest: int) -> Picture:
    """A picture of one kind in one mode, with sides up to `longest`. ValueError for anything else."""
    try:
        with strict_decoding():
            picture = Image.open(io.BytesIO(path.read_bytes()), formats=[kind])
            if max(picture.size) > longest:
                raise ValueError(f"it has {picture.width} x {picture.height} pixels")
            return picture.convert(mode)
    except Exception as error:  # a broken picture raises whatever Pillow's decoders stumble over
        raise ValueError(f"{path} is no {kind} picture: {type(error).__name__}: {error}") from error
