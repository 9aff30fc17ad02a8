"""The scenes as ``datasets``: composited cut-outs on procedural backgrounds, *not* photographs.

Every split is made on the user's machine from a fixed seed and kept in the cache folder, as images and rows
on disk.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from connector_bench.zoo.cache import cache_root
from connector_bench.zoo.composition import Scene
from connector_bench.zoo.questions import Question
from connector_bench.zoo.splits import VERSION, Fingerprint, Split, find_split, image_id, make_scene
from connector_bench.zoo.stored_rows import png, stored_rows

if TYPE_CHECKING:
    import datasets


QUESTION_COLUMNS = ("question_id", "image_id", "image", "kind", "question", "answer", "mask")


def _question_row(name: str, index: int, question: Question) -> dict[str, Any]:
    return {
        "question_id": f"{name}-q{index}",
        "kind": question.kind,
        "question": question.question,
        "answer": question.answer,
        "mask": png(question.mask),
    }


def scene_row(name: str, scene: Scene, questions: list[Question]) -> dict[str, Any]:
    """One row of ``load``: boxes are (x0, y0, x1, y1) in pixels, masks one-bit PNG files as bytes."""
    return {
        "image_id": name,
        "image": {"bytes": png(scene.image), "path": None},
        "objects": [
            {
                "name": o.name,
                "category": o.category,
                "place": o.place,
                "box": list(o.box),
                "drawing": o.drawing,
            }
            for o in scene.objects
        ],
        "caption": scene.caption,
        "label": scene.label,
        "background": scene.background,
        "questions": [_question_row(name, i, q) for i, q in enumerate(questions)],
    }


def _features() -> datasets.Features:
    from datasets import Features, Image, List, Value

    text = Value("string")
    question = {**dict.fromkeys(("question_id", "kind", "question", "answer"), text), "mask": Value("binary")}
    placed = {**dict.fromkeys(("name", "category", "place", "drawing"), text), "box": List(Value("int32"))}
    plain = dict.fromkeys(("image_id", "caption", "label", "background"), text)
    return Features({**plain, "image": Image(), "objects": List(placed), "questions": List(question)})


def _rows(split: Split) -> Iterator[dict[str, Any]]:
    for index in tqdm(range(split.scenes), desc=f"composing {split.name}", unit="scene", mininterval=2):
        yield scene_row(image_id(split, index), *make_scene(split, index))


def load(split: str) -> datasets.Dataset:
    """A split of the scenes, one row a scene; made on first use (about 20 ms a scene) and cached.

    Columns: ``image_id``, ``image`` (224 x 224 RGB), ``objects`` (name, category, place, drawing, box in
    pixels), ``caption``, ``label`` (category of the largest visible area), ``background``, ``questions``
    (question_id, kind, question, answer, mask as PNG bytes). Splits: train 6000, validation 300, test 1000,
    test_unseen 1000, whose drawings no other split holds, and probe 2400.

    Raises:
        ValueError: unknown split.
        OSError: the cache folder cannot be written.
    """
    found = find_split(split)
    folder = cache_root() / f"scenes-v{VERSION}" / f"{found.name}-{found.scenes}"
    return stored_rows(folder, _features(), _rows(found))


def _repeated(column: Any, rows: NDArray[np.int64]) -> Any:
    """``column[rows]`` without copying, one slice a row: an image is stored once for all its questions."""
    import pyarrow as pa

    return pa.chunked_array([column.slice(int(row), 1).chunk(0) for row in rows])


def load_questions(split: str) -> datasets.Dataset:
    """A split of the scenes, one row a question: question_id, image_id, image, kind, question, answer, mask.

    Raises:
        ValueError: unknown split.
        OSError: the cache folder cannot be written.
    """
    import pyarrow as pa
    from datasets import Dataset, DatasetInfo

    scenes = load(split)
    asked = scenes.data.column("questions").combine_chunks()
    owner = asked.value_parent_indices().to_numpy()
    columns = {name: _repeated(scenes.data.column(name), owner) for name in ("image_id", "image")}
    question = asked.flatten()
    columns |= {name: question.field(name) for name in ("question_id", "kind", "question", "answer", "mask")}
    features = {**scenes.features, **scenes.features["questions"].feature}
    columns = {name: columns[name] for name in QUESTION_COLUMNS}
    kept = type(scenes.features)({name: features[name] for name in columns})
    fingerprint_of_rows = f"scenes-v{VERSION}-{split}-questions"
    return Dataset(pa.table(columns), DatasetInfo(features=kept), fingerprint=fingerprint_of_rows)


def mask_of(question: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The answer mask of a question row (of ``load_questions``, or of ``questions`` in ``load``), [224, 224].

    True on the visible pixels of the objects that answer; all False where the answer is "no".
    """
    return np.asarray(Image.open(io.BytesIO(question["mask"])).convert("1"))


def fingerprint(split: str) -> str:
    """sha256 (hex) over every pixel, question, answer and mask of a split, in order.

    Raises:
        ValueError: unknown split.
    """
    found, digest = find_split(split), Fingerprint()
    for index in range(found.scenes):
        digest.add(*make_scene(found, index))
    return digest.hex()
