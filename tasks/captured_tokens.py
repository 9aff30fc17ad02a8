"""Pictures whose tokens `connector-bench capture` has left; neither they nor the model are needed any more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector_bench.tasks.folders import folder_of
from connector_bench.tasks.picture_folder import tested_hashes

from connector_bench.captured.replayed import FOLDER, TRAINING_FOLDER, CapturedTokens
from connector_bench.pictures import PictureFacts, as_rgb, knows_facts
from connector_bench.run.documents import NoPicture

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["captured", "captured_picture", "captured_test", "captured_train", "split_key"]

WHAT = "a folder that `connector-bench capture` has left"


def captured(index: Dataset) -> Dataset:
    """The documents of the capture that CONNECTOR_BENCH_CAPTURED names, in their order."""
    return _rows(FOLDER)


def captured_test(index: Dataset) -> Dataset:
    """Those that probes are tested on: all of them where CONNECTOR_BENCH_CAPTURED_TRAIN names another capture.

    Else a fifth, the same as that of `patch_reconstruction_imagefolder` on the folder that was captured.
    """
    return _rows(FOLDER) if os.environ.get(TRAINING_FOLDER) else _part(test=True)


def captured_train() -> Dataset:
    """Those that probes learn from: CONNECTOR_BENCH_CAPTURED_TRAIN's, else the other four fifths."""
    return _rows(TRAINING_FOLDER) if os.environ.get(TRAINING_FOLDER) else _part(test=False)


def _part(test: bool) -> Dataset:
    rows = _rows(FOLDER)
    named = zip(rows["file_sha256"][:], rows["image"][:], rows["image_id"][:], strict=True)
    hashes = [split_key(file, image, path) for file, image, path in named]
    tested = tested_hashes(hashes)
    return rows.select([number for number, name in enumerate(hashes) if (name in tested) == test])


def split_key(file: str | None, image: str | None, path: str) -> bytes:
    """By what a picture is put among those that are tested: its file's hash, its own where it has no file, its path."""
    known = file or image
    return bytes.fromhex(known) if known else path.encode()


def _rows(variable: str) -> Dataset:
    import datasets

    pictures = CapturedTokens(folder_of(variable, WHAT)).pictures()
    text, names = datasets.Value("string"), ("image_id", "file_sha256", "label", "image", "unreadable")
    features = dict.fromkeys((*names, "folder"), text) | {"entropy": datasets.Value("float64")}
    columns: dict[str, list[Any]] = {
        "image_id": [one.path for one in pictures.documents],
        "folder": [pictures.folder] * len(pictures.documents),
    }
    for name in ("file_sha256", "label", "image", "unreadable", "entropy"):
        columns[name] = [getattr(one, name) for one in pictures.documents]
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def _facts(doc: dict[str, Any]) -> PictureFacts:
    if doc["image"] is None or doc["unreadable"] is not None:
        raise NoPicture(str(doc["unreadable"]))
    return PictureFacts(doc["image"], doc["entropy"])


@knows_facts(_facts)
def captured_picture(doc: dict[str, Any]) -> list[Any]:
    """The picture itself, where its file still lies where it was captured from."""
    from PIL import Image

    return [as_rgb(Image.open(Path(doc["folder"]) / doc["image_id"]))]
