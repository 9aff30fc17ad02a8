"""What the task YAMLs name with `!function`."""

from __future__ import annotations

import os
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector_bench.pictures import as_rgb, reads_column
from connector_bench.plugin import KnnPreservation, PatchReconstruction

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = [
    "KnnPreservation",
    "PatchReconstruction",
    "answer_mask",
    "cub",
    "image_folder",
    "image_folder_test",
    "image_folder_train",
    "picture",
    "pictures",
    "probe_scenes",
    "question",
    "questions",
    "vqa_accuracy",
]

IMAGE_FOLDER = "CONNECTOR_BENCH_IMAGE_FOLDER"
CUB_FOLDER = "CONNECTOR_BENCH_CUB_FOLDER"
ARTICLES = {"a", "an", "the"}


def pictures(index: Dataset) -> Dataset:
    """The scenes of the split that the one-row `index` names."""
    from connector_bench.zoo import scenes

    return scenes.load(index[0]["scenes"])


def probe_scenes() -> Dataset:
    """The scenes that probes learn from."""
    from connector_bench.zoo import scenes

    return scenes.load("probe")


def questions(index: Dataset) -> Dataset:
    """The questions, each with its scene, of the split that the one-row `index` names."""
    from connector_bench.zoo import scenes

    return scenes.load_questions(index[0]["scenes"])


def image_folder(index: Dataset | None) -> Dataset:
    """All pictures of the folder that CONNECTOR_BENCH_IMAGE_FOLDER names; sub-folders are labels.

    Raises ValueError where the variable is not set or leads to no folder.
    """
    from datasets import load_dataset

    folder = folder_of(IMAGE_FOLDER, "a folder of pictures")
    return load_dataset("imagefolder", data_dir=str(folder.resolve()), split="train", drop_labels=False)


def image_folder_test(index: Dataset) -> Dataset:
    """A fifth of the pictures of `image_folder`, by a hash of their files: equal files are on the same side."""
    return _part_of_folder(index, test=True)


def image_folder_train() -> Dataset:
    """The other four fifths, for probes to learn from."""
    return _part_of_folder(None, test=False)


def _part_of_folder(index: Dataset | None, test: bool) -> Dataset:
    import hashlib

    from datasets import Image

    rows = image_folder(index)
    paths = (row["image"]["path"] for row in rows.cast_column("image", Image(decode=False)))
    sides = [hashlib.sha256(Path(path).read_bytes()).digest()[0] % 5 == 0 for path in paths]
    return rows.select([number for number, side in enumerate(sides) if side == test])


def cub(index: Dataset) -> Dataset:
    """The 5,794 test pictures of CUB-200-2011, labelled with their species, from its official folder.

    CONNECTOR_BENCH_CUB_FOLDER names the folder that holds `images.txt` and `images/`.
    Raises ValueError where the variable is not set or the folder lacks a file.
    """
    import datasets
    import pandas as pd

    folder = folder_of(CUB_FOLDER, "the unpacked folder CUB_200_2011")
    columns = {"images.txt": "path", "image_class_labels.txt": "label", "train_test_split.txt": "train"}
    if missing := [name for name in columns if not (folder / name).is_file()]:
        raise ValueError(
            f"{folder} is not the official folder of CUB-200-2011: it has no {', '.join(missing)}"
        )
    tables = [
        pd.read_csv(folder / name, sep=" ", names=["id", column], index_col="id")
        for name, column in columns.items()
    ]
    test = pd.concat(tables, axis=1).query("train == 0")
    paths = [str(folder / "images" / path) for path in test["path"]]
    table = {"image": paths, "image_id": test["path"].tolist(), "label": test["label"].astype(str).tolist()}
    return datasets.Dataset.from_dict(table).cast_column("image", datasets.Image())


def folder_of(variable: str, what: str) -> Path:
    """The folder that an environment variable names. ValueError where it is not set or leads to none."""
    folder = Path(os.environ.get(variable, ""))
    if not os.environ.get(variable) or not folder.is_dir():
        raise ValueError(f"set {variable} to {what}; it is {os.environ.get(variable)!r}")
    return folder


@reads_column("image")
def picture(doc: dict[str, Any]) -> list[Any]:
    """The document's picture as lmms-eval's wrappers expect it."""
    return [as_rgb(doc["image"])]


def answer_mask(doc: dict[str, Any]) -> Any:
    """The pixels of a scene that answer the question, a boolean array; all False where the answer is "no"."""
    from connector_bench.zoo import scenes

    return scenes.mask_of(doc)


def question(doc: dict[str, Any], lmms_eval_specific_kwargs: dict[str, str] | None = None) -> str:
    """The question, followed by the prompt that asks for a short answer."""
    prompts = lmms_eval_specific_kwargs or {}
    return f"{prompts.get('pre_prompt', '')}{doc['question']}{prompts.get('post_prompt', '')}"


def vqa_accuracy(doc: dict[str, Any], results: list[str]) -> dict[str, float | str]:
    """1 where the answer is right but for case, articles and punctuation; once overall, once for its kind."""
    right = float(_plain(results[0]) == _plain(doc["answer"]))
    return {
        "accuracy": right,
        f"accuracy_{doc['kind']}": right,
        "question_id": doc["question_id"],
        "image_id": doc["image_id"],
    }


def _plain(answer: str) -> str:
    words = answer.lower().translate(str.maketrans("", "", string.punctuation)).split()
    return " ".join(word for word in words if word not in ARTICLES)
