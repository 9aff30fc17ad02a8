"""COCO for `patch_reconstruction`: probes learn from train2017; tested are Karpathy test images not in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector_bench.tasks.folders import folder_of

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["in_train2017", "karpathy_picture", "train2017"]

COCO_FOLDER = "CONNECTOR_BENCH_COCO_FOLDER"


def train2017() -> Dataset:
    """The pictures of the folder `train2017`, in the order of their names.

    CONNECTOR_BENCH_COCO_FOLDER names the official folder with `train2017/` and `val2017/`. Raises ValueError where
    the variable is not set or the folder has no pictures.
    """
    import datasets

    paths = sorted(str(path) for path in (_coco() / "train2017").glob("*.jpg"))
    if not paths:
        raise ValueError(
            f"{_coco()} has no train2017/*.jpg; {COCO_FOLDER} names the folder that holds train2017/"
        )
    return datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())


def in_train2017(doc: dict[str, Any]) -> str | None:
    """Why an image of Karpathy's test split is not tested: most of them are training images of COCO 2017."""
    inside = (_coco() / "train2017" / _file_name(doc)).is_file()
    return "the image is in COCO train2017, from which probes learn" if inside else None


def karpathy_picture(doc: dict[str, Any]) -> list[Any]:
    """The picture of a row of `coco_karpathy_test`, from `val2017/`: no download, image by image, is needed."""
    from PIL import Image

    return [Image.open(_coco() / "val2017" / _file_name(doc)).convert("RGB")]


def _file_name(doc: dict[str, Any]) -> str:
    return f"{int(doc['cocoid']):012d}.jpg"


def _coco() -> Path:
    return folder_of(COCO_FOLDER, "COCO's official folder, with train2017/ and val2017/")
