"""What the task YAMLs name with `!function`."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from connector_bench.tasks.folders import folder_of
from connector_bench.tasks.picture_folder import picture

from connector_bench.plugin import ConnectorStages, KnnPreservation, PatchReconstruction
from connector_bench.stages.scene_questions import StageQuestion

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = [
    "ConnectorStages",
    "KnnPreservation",
    "PatchReconstruction",
    "answer_mask",
    "asked",
    "cub",
    "object_content",
    "objects",
    "picture",
    "pictures",
    "probe_scenes",
    "question",
    "questions",
    "reader_questions",
    "scene_content",
    "some_probe_scenes",
    "some_questions",
    "vqa_accuracy",
]

CUB_FOLDER = "CONNECTOR_BENCH_CUB_FOLDER"
ARTICLES = {"a", "an", "the"}
DEMO_SCENES, DEMO_PROBE_SCENES = 200, 400
"""Scenes that the demo's probes are asked about and learn from; a few of each keep it within minutes."""


def pictures(index: Dataset) -> Dataset:
    """The scenes of the split that the one-row `index` names."""
    from connector_bench.zoo import scenes

    return scenes.load(index[0]["scenes"])


def objects(index: Dataset) -> Dataset:
    """The views of single objects of the split that the one-row `index` names."""
    from connector_bench.zoo import objects as views

    return views.load(index[0]["objects"])


def object_content(doc: dict[str, Any]) -> list[str]:
    """What a picture of one object shows: the object and its category."""
    return [f"object {doc['object']}", f"category {doc['category']}"]


def scene_content(doc: dict[str, Any]) -> list[str]:
    """What a scene shows where: of every object its name and its category, each with its place."""
    return [f"{one[what]} {one['place']}" for one in doc["objects"] for what in ("name", "category")]


def probe_scenes() -> Dataset:
    """The scenes that probes learn from."""
    from connector_bench.zoo import scenes

    return scenes.load("probe")


def reader_questions(rows: Dataset) -> list[list[StageQuestion]]:
    """All that readers are asked about each of the scenes that they learn from."""
    from connector_bench.zoo import reader_questions as about

    return [[StageQuestion(*one) for one in scene] for scene in about.reader_questions(rows)]


def asked(doc: dict[str, Any]) -> StageQuestion:
    """A document's question."""
    return StageQuestion(doc["kind"], doc["question"], doc["answer"])


def questions(index: Dataset) -> Dataset:
    """The questions, each with its scene, of the split that the one-row `index` names."""
    from connector_bench.zoo import scenes

    return scenes.load_questions(index[0]["scenes"])


def some_questions(index: Dataset) -> Dataset:
    """The questions about the first `DEMO_SCENES` scenes of the split that the one-row `index` names."""
    rows = questions(index)
    named = list(dict.fromkeys(rows["image_id"]))[:DEMO_SCENES]
    return rows.select([number for number, image in enumerate(rows["image_id"]) if image in set(named)])


def some_probe_scenes() -> Dataset:
    """The first `DEMO_PROBE_SCENES` of the scenes that probes learn from."""
    return probe_scenes().select(range(DEMO_PROBE_SCENES))


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
