"""Answers to questions about pictures, each picture decoded and read once for all that is asked about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from connector_bench.pictures import encoded_picture, picture_hash
from connector_bench.zoo.encoded import encoded

if TYPE_CHECKING:
    from PIL.Image import Image

    from connector_bench.zoo.model import ZooModel


@dataclass(frozen=True)
class Asked:
    """One question and where its picture is."""

    question: str
    rows: Any
    """The data set."""
    number: int
    """Row of the document."""
    to_visual: Callable[..., Any]

    def picture(self) -> Image:
        """The document's first picture."""
        first: Image = self.to_visual(self.rows[self.number])[0]
        return first


def answers(model: ZooModel, asked: Sequence[Asked], batch_size: int, quiet: bool = False) -> list[str]:
    """A word for every question, in their order."""
    given: list[str] = []
    starts = range(0, len(asked), batch_size)
    for start in tqdm(starts, desc="Answering", unit="batch", disable=quiet):
        given += _batch(model, asked[start : start + batch_size])
    return given


def _batch(model: ZooModel, asked: Sequence[Asked]) -> list[str]:
    pictures: dict[bytes | str, Image] = {}
    questions: dict[bytes | str, dict[int, str]] = {}
    for position, one in enumerate(asked):
        key: bytes | str | None = encoded_picture(one.rows, one.number, one.to_visual)
        if key is None or key not in pictures:
            picture = one.picture()
            key = picture_hash(picture) if key is None else key
            pictures[key] = picture
        questions.setdefault(key, {})[position] = one.question
    post = model.connect(encoded(model, list(pictures.values())))
    found = model.answer_each(post, [list(group.values()) for group in questions.values()])
    placed = zip(
        (position for group in questions.values() for position in group),
        (answer for group in found for answer in group),
        strict=True,
    )
    return [answer for _, answer in sorted(placed)]
