"""One pass of a run's images through tower and connector, feeding every measure that wants them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from connector_bench import capture
from connector_bench.connectors.base import ConnectorAdapter
from connector_bench.exchange import gather_all, rank_and_size, together

if TYPE_CHECKING:
    from PIL.Image import Image

    from connector_bench.types import TokenPair


class Figures(Protocol):
    """What a measure hands back when it has seen all images."""

    @property
    def per_image(self) -> Mapping[str, Mapping[str, float | str]]:
        """Figures of every image, or a note why it has none."""
        ...

    @property
    def summary(self) -> dict[str, object]:
        """Intervals and provenance of the whole set."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know, in sentences."""
        ...


class Measure(Protocol):
    """State that takes in images one by one and ends in figures per image."""

    def update(self, image: str, pair: TokenPair) -> None:
        """Take in one image, named by the hash of its pixels."""
        ...

    def finish(self, labels: dict[str, str]) -> Figures:
        """Figures over the images of all ranks; `labels` of this rank's images, where documents have one."""
        ...


@dataclass(frozen=True)
class Document:
    """One document of a task: where its picture comes from, and which measure wants it."""

    task: str
    doc_id: int
    source: str
    """Documents of one source and one `doc_id` hold the same picture, so it is looked at once."""
    load: Callable[[], Image]
    label: str | None = None


@dataclass(frozen=True)
class TaskFigures:
    """One task's outcome: an answer for every document of this rank, and a record of the whole."""

    answers: dict[int, dict[str, float | str | int]]
    summary: dict[str, object]
    warnings: tuple[str, ...]


@dataclass
class _Seen:
    """What one pass over a source found: which picture each document holds, and what could not be read."""

    image_of: dict[int, str] = field(default_factory=dict)
    unreadable: dict[int, str] = field(default_factory=dict)


def picture_hash(picture: Image) -> str:
    """SHA-256 of a picture's size and RGB pixels: the same picture has the same name in every data set."""
    rgb = picture.convert("RGB")
    return hashlib.sha256(f"{rgb.width}x{rgb.height}".encode() + rgb.tobytes()).hexdigest()


def measure_documents(
    adapter: ConnectorAdapter,
    documents: Sequence[Document],
    measures: dict[str, Measure],
    *,
    batch_size: int,
) -> dict[str, TaskFigures]:
    """Stream every picture once and ask each task's measure for its figures.

    `measures` maps a task's name to its state. Identical pictures count once: the document with the lowest id
    carries the figures, the others name it. Raises what the model or a measure raises, on all ranks alike.
    """
    seen: dict[str, _Seen] = {}
    by_source: dict[str, list[Document]] = {}
    for document in documents:
        by_source.setdefault(document.source, []).append(document)
    for source in sorted({name for names in gather_all(list(by_source)) for name in names}):
        mine = by_source.get(source, [])
        seen[source] = together(lambda mine=mine: _one_pass(adapter, mine, measures, batch_size))  # type: ignore[misc]
    return {task: _task_figures(task, measure, documents, seen) for task, measure in measures.items()}


def _one_pass(
    adapter: ConnectorAdapter, documents: Sequence[Document], measures: dict[str, Measure], batch_size: int
) -> _Seen:
    wanting = [measures[task] for task in dict.fromkeys(document.task for document in documents)]
    once = list({document.doc_id: document for document in documents}.values())
    seen = _Seen()
    for image, pair in capture.stream(adapter, _pictures(once, seen), batch_size):
        for measure in wanting:
            measure.update(image, pair)
    return seen


def _pictures(documents: Sequence[Document], seen: _Seen) -> Iterator[tuple[str, Image]]:
    from tqdm import tqdm

    known: set[str] = set()
    rank, _ = rank_and_size()
    for document in tqdm(documents, desc="Vision tower and connector", unit="image", disable=rank != 0):
        try:
            picture = document.load().convert("RGB")
        except (OSError, ValueError, SyntaxError) as error:
            seen.unreadable[document.doc_id] = f"{type(error).__name__}: {error}"
            continue
        name = picture_hash(picture)
        seen.image_of[document.doc_id] = name
        if name not in known:
            known.add(name)
            yield name, picture


def _task_figures(
    task: str, measure: Measure, documents: Sequence[Document], seen: dict[str, _Seen]
) -> TaskFigures:
    mine = [document for document in documents if document.task == task]
    image_of = {
        d.doc_id: seen[d.source].image_of[d.doc_id] for d in mine if d.doc_id in seen[d.source].image_of
    }
    unreadable = {
        d.doc_id: seen[d.source].unreadable[d.doc_id] for d in mine if d.doc_id in seen[d.source].unreadable
    }
    labels = {image_of[d.doc_id]: d.label for d in mine if d.doc_id in image_of and d.label is not None}
    figures = measure.finish(labels)
    everywhere = gather_all((image_of, unreadable))
    carrier: dict[str, int] = {}
    for images, _ in everywhere:
        for doc_id, image in images.items():
            carrier[image] = min(doc_id, carrier.get(image, doc_id))
    lost = {doc_id: why for _, bad in everywhere for doc_id, why in bad.items()}
    answers: dict[int, dict[str, float | str | int]] = {}
    for doc_id, image in image_of.items():
        first = carrier[image]
        row = figures.per_image[image] if first == doc_id else {"same_image_as": first}
        answers[doc_id] = {"image": image, **row}
    answers |= {doc_id: {"unreadable": why} for doc_id, why in unreadable.items()}
    summary = {
        **figures.summary,
        "n_documents": len({doc_id for images, bad in everywhere for doc_id in (*images, *bad)}),
        "unreadable": {str(doc_id): why for doc_id, why in sorted(lost.items())},
    }
    warnings = [
        f"document {doc_id} left out, its picture cannot be read: {why}"
        for doc_id, why in sorted(lost.items())
    ]
    return TaskFigures(answers, summary, (*figures.warnings, *warnings))
