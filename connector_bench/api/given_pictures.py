"""Pictures as a user has them (in memory, as files, in a folder) as the documents that a measurement takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.connectors.bare import TRIAL_SIZE
from connector_bench.pictures import PictureFacts, as_rgb, picture_facts, reason, strict_decoding
from connector_bench.preservation.retrieval import class_of
from connector_bench.run.documents import Document, NoPicture, as_pictures

if TYPE_CHECKING:
    from PIL.Image import Image

GivenImages = str | Path | Iterable[Any]
"""A folder, or pictures in any order: Pillow's, arrays `[rows, columns, 3]` or `[rows, columns]`, tensors
`[3, rows, columns]`, or paths."""
Labels = Sequence[object] | Mapping[str, Sequence[object]]
"""One a picture, or by column where there are several of them."""


@dataclass(frozen=True, eq=False)
class GivenPictures:
    """Documents in the order in which pictures were given, duplicates included."""

    documents: tuple[Document, ...]
    paths: tuple[str, ...]
    """Name of each: its path below the folder, its file's name, or its number."""
    files: tuple[str | None, ...]
    """SHA-256 of each file; None where there is none, or it cannot be read."""
    folder: str = ""

    def __len__(self) -> int:
        return len(self.documents)

    @classmethod
    def of(cls, images: GivenImages, labels: Labels | None = None, source: str = "given") -> GivenPictures:
        """What was given. ValueError for none, labels that are not one a picture, a folder without any."""
        if isinstance(images, (str, Path)):
            images = Path(images).expanduser()
        if isinstance(images, Path) and images.is_dir():
            found = cls._of_folder(images, source)
        else:
            refuse_one(images)
            if not isinstance(images, (Path, Iterable)) or isinstance(images, dict):
                raise ValueError(
                    f"images is {type(images).__name__}; allowed are a folder, and pictures or paths in any iterable"
                )
            listed = [
                Path(one).expanduser() if isinstance(one, (str, Path)) else one
                for one in ([images] if isinstance(images, Path) else images)
            ]
            found = cls(
                tuple(_document(number, one, source) for number, one in enumerate(listed)),
                tuple(
                    one.name if isinstance(one, Path) else str(number) for number, one in enumerate(listed)
                ),
                tuple(_file_sha256(one) if isinstance(one, Path) else None for one in listed),
            )
        if not len(found):
            raise ValueError("no picture was given")
        if labels is None:
            return found
        columns = labels if isinstance(labels, Mapping) else {"label": labels}
        for column, given in columns.items():
            if len(given) != len(found):
                raise ValueError(f"one {column} a picture: got {len(given)} labels and {len(found)} pictures")
        classes = {column: [class_of(label) for label in given] for column, given in columns.items()}
        documents = [
            replace(one, labels={column: text for column, known in classes.items() if (text := known[place])})
            for place, one in enumerate(found.documents)
        ]
        return replace(found, documents=tuple(documents))

    @classmethod
    def _of_folder(cls, folder: Path, source: str) -> GivenPictures:
        from connector_bench.captured.capture_folder import documents_of_folder

        documents, rows = documents_of_folder(folder, None)
        names = tuple(rows.rows["image_id"][:])
        return cls(
            tuple(replace(one, source=source) for one in documents),
            names,
            tuple(_file_sha256(folder / name) for name in names),
            str(folder.resolve()),
        )

    def of_task(self, task: str, numbers: Iterable[int] | None = None) -> list[Document]:
        """The documents of a task: those of these numbers, all unless told."""
        chosen = range(len(self)) if numbers is None else numbers
        return [replace(self.documents[number], task=task) for number in chosen]

    def size_of_first(self) -> tuple[int, int]:
        """Width and height of the first picture that can be read."""
        for document in self.documents:
            try:
                return document.load().size
            except Exception:  # it is left out by name later
                continue
        return TRIAL_SIZE

    def keys(self) -> list[bytes]:
        """By what each is put among the tested: its file's hash, its picture's where there is no file, its name."""
        from connector_bench.tasks.captured_tokens import split_key

        return [
            split_key(file, None if file else _hash_of(document), path)
            for document, file, path in zip(self.documents, self.files, self.paths, strict=True)
        ]


def tested_and_learnt(keys: Sequence[bytes]) -> tuple[list[int], list[int]]:
    """Numbers of about a fifth, by hash, and of the others: as the tasks `..._imagefolder` part a folder."""
    from connector_bench.tasks.picture_folder import tested_hashes

    tested = tested_hashes(list(keys))
    parts: tuple[list[int], list[int]] = ([], [])
    for number, key in enumerate(keys):
        parts[key not in tested].append(number)
    return parts


def refuse_one(images: Any) -> None:
    """ValueError for a path that leads nowhere, and for one array where several pictures are wanted."""
    if isinstance(images, (str, Path)) and not Path(images).expanduser().exists():
        raise ValueError(f"images is {str(images)!r}, which is neither a folder nor a file")
    tensor = _is_tensor(images)
    if (tensor or isinstance(images, np.ndarray)) and images.ndim < 4:
        what, several = ("tensor", "3, rows, columns") if tensor else ("array", "rows, columns, 3")
        raise ValueError(
            f"images is one {what} of {list(images.shape)}; a picture by itself is given in a list, several as "
            f"[pictures, {several}]"
        )


def _hash_of(document: Document) -> str | None:
    try:
        return document.facts().name if document.facts is not None else None
    except Exception:
        return None


def _document(number: int, given: Any, source: str) -> Document:
    if isinstance(given, Path):
        shown = partial(_shown_file, given)
        return Document("", number, source, shown, {}, given.read_bytes, file=lambda: given.name)
    try:
        picture = rgb_of(given)
        facts = picture_facts(picture)
    except Exception as error:  # decoders raise whatever they like
        why = reason(error)
        return Document("", number, source, partial(_none, why), facts=partial(_none, why))
    return Document("", number, source, partial(_shown, picture), facts=partial(_known, facts))


def rgb_of(given: Any) -> Image:
    """A picture in memory as the RGB that is measured.

    Args:
        given: of Pillow, an array `[rows, columns, 3]` of uint8 (or greys), or a tensor `[3, rows, columns]` of uint8.

    Raises:
        TypeError: anything else, naming what arrived and what is allowed.
    """
    from PIL import Image as pillow

    if _is_tensor(given):
        given = _of_tensor(given)
    if not isinstance(given, (pillow.Image, np.ndarray)):
        raise TypeError(
            f"a picture of Pillow, an array, a tensor or a path is needed, got {type(given).__name__}"
        )
    if isinstance(given, np.ndarray):
        given = pixels_of(given)
    with strict_decoding():
        (picture,) = as_pictures(given)
        return as_rgb(picture)


def pixels_of(array: np.ndarray) -> np.ndarray:
    """An array as Pillow takes it, one channel as greys.

    TypeError for one that is no picture, naming its shape and type and what is allowed.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    coloured = array.ndim == 3 and array.shape[2] in (2, 3, 4)
    if not (coloured and array.dtype == np.uint8) and array.ndim != 2:
        raise TypeError(
            f"an array of {list(array.shape)} of {array.dtype} is no picture; [rows, columns, 3] of uint8 is needed, "
            "such as (255 * values).round().astype('uint8'); also taken are [rows, columns] and [rows, columns, 1] of "
            "greys, 2 channels (grey, alpha) and 4 (RGB, alpha)"
        )
    return array


def _is_tensor(given: Any) -> bool:
    import torch

    return isinstance(given, torch.Tensor)


def _of_tensor(tensor: Any) -> np.ndarray:
    """The array of a picture's tensor `[3, rows, columns]` of uint8, as torchvision reads it; TypeError for others."""
    import torch

    channels = (1, 3, 4)
    shape = list(tensor.shape)
    if tensor.dtype == torch.uint8 and len(shape) == 3 and (shape[0] in channels) != (shape[2] in channels):
        array: np.ndarray = (tensor if shape[2] in channels else tensor.permute(1, 2, 0)).cpu().numpy()
        return np.ascontiguousarray(array)
    raise TypeError(
        f"a Tensor of {shape} of {str(tensor.dtype).removeprefix('torch.')} is no picture; [3, rows, columns] of uint8 "
        "is needed, (255 * values).round().to(torch.uint8) of values from 0 to 1; what a processor has made already "
        "is for a bare pair, ConnectorProbe(tensors, (encoder, connector)); elsewhere pictures come with processor="
    )


def _shown_file(path: Path) -> tuple[Image, int]:
    from PIL import Image as pillow

    with strict_decoding():
        return as_rgb(pillow.open(path)), 1


def _shown(picture: Image) -> tuple[Image, int]:
    return picture, 1


def _known(facts: PictureFacts) -> PictureFacts:
    return facts


def _none(why: str) -> Any:
    raise NoPicture(why)


def _file_sha256(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None
