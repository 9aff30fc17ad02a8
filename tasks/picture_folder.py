"""Any folder of pictures: every picture file below it, whatever words its path holds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector_bench.tasks.folders import folder_of

from connector_bench.pictures import as_rgb, reads_column
from connector_bench.progress import steps

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = [
    "image_folder",
    "image_folder_test",
    "image_folder_train",
    "parts_below",
    "picture",
    "pictures_below",
    "tested_hashes",
]

IMAGE_FOLDER = "CONNECTOR_BENCH_IMAGE_FOLDER"
ARCHIVE_LEFTOVERS = "__MACOSX"
SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"}
READ_AS_JPEG = "MPO"
"""Pillow opens it with the JPEG reader and lists no reader of its own."""
VIDEO = "MPEG"
"""Pillow recognises it and decodes none of it."""


def image_folder(index: Dataset | None) -> Dataset:
    """All pictures of the folder that CONNECTOR_BENCH_IMAGE_FOLDER names, in the order of their paths.

    Columns are `image`, decoded when it is read, `image_id`, the path below the folder, and `label`, the name of the
    sub-folder that a picture lies in. It is None for a picture that lies in no sub-folder, and for all of them where
    they lie in one folder or where sub-folders have names of splits only.

    Raises ValueError where the variable is not set, leads to no folder, or the folder has no pictures.
    """
    return pictures_below(folder_of(IMAGE_FOLDER, "a folder of pictures").resolve())


def pictures_below(folder: Path) -> Dataset:
    """The rows of `image_folder` for any folder. Raises ValueError where it has no pictures."""
    import datasets

    names = sorted(path.relative_to(folder).as_posix() for path in picture_files(folder))
    if not names:
        others = sorted({path.suffix for path in folder.rglob("*") if path.is_file()})
        held = f"only files with the suffixes {', '.join(others)[:80]}" if others else "no files"
        raise ValueError(
            f"{folder} has no pictures that Pillow reads, {held}; name a folder that has ({IMAGE_FOLDER} for tasks)"
        )
    table = {
        "image": [str(folder / name) for name in names],
        "image_id": names,
        "label": labels_of(names),
    }
    features = {"image": datasets.Image(), "image_id": datasets.Value("string")}
    features["label"] = datasets.Value("string")
    return datasets.Dataset.from_dict(table, features=datasets.Features(features))


def image_folder_test(index: Dataset) -> Dataset:
    """A fifth of the pictures of `image_folder`, by a hash of their files: equal files are on the same side.

    Raises ValueError as `image_folder` does, and where no picture falls into this part.
    """
    return _part_of_folder(index, test=True)


def image_folder_train() -> Dataset:
    """The other four fifths, for probes to learn from. Raises as `image_folder_test` does."""
    return _part_of_folder(None, test=False)


@reads_column("image")
def picture(doc: dict[str, Any]) -> list[Any]:
    """The document's picture as lmms-eval's wrappers expect it."""
    return [as_rgb(doc["image"])]


def picture_files(folder: Path) -> Iterator[Path]:
    """Files below a folder whose suffix Pillow reads; hidden files and folders are none. Links are followed.

    Raises ValueError for a folder that cannot be listed, since its pictures would be missed without a word.
    """

    def refuse(error: OSError) -> None:
        raise ValueError(f"{error.filename} cannot be listed: {error.strerror}") from error

    entered: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        entered.add(str(Path(place).resolve()))
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name != ARCHIVE_LEFTOVERS
            and str(Path(place, name).resolve()) not in entered
        )
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in picture_suffixes():
                yield Path(place, name)


@cache
def picture_suffixes() -> frozenset[str]:
    """Suffixes, in small letters, of the formats that Pillow decodes by itself."""
    from PIL import Image, ImageFile

    def decodes(kind: str) -> bool:
        factory = Image.OPEN[kind][0] if kind in Image.OPEN else None
        stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
        return kind == READ_AS_JPEG or (factory is not None and not stub and kind != VIDEO)

    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if decodes(kind))


def labels_of(names: list[str]) -> list[str | None]:
    """The class of every picture by the folder that it lies in; None where folders tell no classes."""
    parents = [Path(name).parent for name in names]
    classes = {parent.name.lower() for parent in parents}
    if len(set(parents)) < 2 or classes <= SPLIT_NAMES:
        return [None] * len(names)
    return [parent.name or None for parent in parents]


def _part_of_folder(index: Dataset | None, test: bool) -> Dataset:
    return _parts(image_folder(index))[test]


def parts_below(folder: Path) -> tuple[Dataset, Dataset]:
    """The pictures below a folder that probes learn from, and those that are tested on; raises as `pictures_below`."""
    return _parts(pictures_below(folder))


def _parts(rows: Dataset) -> tuple[Dataset, Dataset]:
    files = rows.with_format("arrow")["image"].to_pylist()
    hashes = [_file_hash(Path(row["path"])) for row in steps(files, "Hashing files", unit="file")]
    tested = tested_hashes(hashes)
    numbers = [
        [number for number, name in enumerate(hashes) if (name in tested) == test] for test in (False, True)
    ]
    return rows.select(numbers[0]), rows.select(numbers[1])


def tested_hashes(hashes: list[bytes]) -> set[bytes]:
    """Of the hashes of files those that are tested on, about a fifth; probes learn from the others."""
    different = sorted(set(hashes))
    tested = {name for name in different if name[0] % 5 == 0}
    if not tested:
        tested = set(different[:1])
    elif len(tested) == len(different) > 1:
        tested.remove(different[-1])
    return tested


def _file_hash(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError:  # the measurement leaves it out by name
        content = os.fsencode(path)
    return hashlib.sha256(content).digest()
