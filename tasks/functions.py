"""What the task YAMLs name with `!function`."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from connector_bench.plugin import KnnPreservation

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["KnnPreservation", "picture", "pictures", "question", "questions", "vqa_accuracy"]

ARTICLES = {"a", "an", "the"}


def pictures(index: Dataset) -> Dataset:
    """The scenes of the split that the one-row `index` names."""
    from connector_bench.zoo import scenes

    return scenes.load(index[0]["scenes"])


def questions(index: Dataset) -> Dataset:
    """The questions, each with its scene, of the split that the one-row `index` names."""
    from connector_bench.zoo import scenes

    return scenes.load_questions(index[0]["scenes"])


def picture(doc: dict[str, Any]) -> list[Any]:
    """The document's picture as lmms-eval's wrappers expect it."""
    return [doc["image"].convert("RGB")]


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
