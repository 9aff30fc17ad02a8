"""VizWiz-VQA-Grounding from its official folder: questions, pictures, and the mask of each answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from connector_bench.tasks.folders import folder_of

from connector_bench.pictures import reads_column

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["answer_mask", "grounded_questions", "picture", "question"]

VIZWIZ_FOLDER = "CONNECTOR_BENCH_VIZWIZ_FOLDER"
SPLIT = "val"


def grounded_questions(index: Dataset) -> Dataset:
    """The questions of the validation split whose answer is grounded, in the order of `val_grounding.json`.

    CONNECTOR_BENCH_VIZWIZ_FOLDER names the folder with `val_grounding.json`, `val/` and `binary_masks_png/val/`.
    Columns: question_id (as in `vizwiz_vqa_val`), question, answers, answer (the most common one), category,
    image, mask (path of a PNG). Raises ValueError where a file is missing.
    """
    import datasets

    folder = folder_of(VIZWIZ_FOLDER, "the folder of VizWiz-VQA-Grounding")
    listed = folder / f"{SPLIT}_grounding.json"
    if not listed.is_file():
        raise ValueError(
            f"{folder} is not the official folder of VizWiz-VQA-Grounding: it has no {listed.name}"
        )
    entries = json.loads(listed.read_bytes())
    names = list(entries)
    masks = [folder / "binary_masks_png" / SPLIT / f"{Path(name).stem}.png" for name in names]
    if absent := [path for path in masks if not path.is_file()]:
        raise ValueError(f"{len(absent)} of {len(masks)} answer masks are missing, such as {absent[0]}")
    table = {
        "question_id": [Path(name).stem for name in names],
        "question": [entries[name]["question"] for name in names],
        "answers": [[_answer(one) for one in entries[name]["answers"]] for name in names],
        "answer": [str(entries[name]["most_common_answer"]) for name in names],
        "category": ["grounded"] * len(names),
        "image": [str(folder / SPLIT / name) for name in names],
        "mask": [str(path) for path in masks],
    }
    return datasets.Dataset.from_dict(table).cast_column("image", datasets.Image())


def _answer(given: Any) -> str:
    """An annotator's answer: a word, or as in VizWiz-VQA a word with the confidence in it."""
    return str(given["answer"] if isinstance(given, dict) else given)


@reads_column("image")
def picture(doc: dict[str, Any]) -> list[Any]:
    """The document's picture, upright as its mask is."""
    return [doc["image"].convert("RGB")]


def question(doc: dict[str, Any], lmms_eval_specific_kwargs: dict[str, str] | None = None) -> str:
    """The question with lmms-eval's own prompt for VizWiz."""
    prompts = lmms_eval_specific_kwargs or {}
    return f"{prompts.get('pre_prompt', '')}{doc['question'].capitalize()}{prompts.get('post_prompt', '')}"


def answer_mask(doc: dict[str, Any]) -> np.ndarray:
    """The pixels that show the answer, a boolean array [rows, columns]."""
    from PIL import Image

    with Image.open(doc["mask"]) as mask:
        return np.asarray(mask.convert("L")) > 0
