"""A run's images through tower and connector: once those that train, then once those that test, for all measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from connector_bench import capture
from connector_bench.connectors.base import ConnectorAdapter
from connector_bench.pictures import PictureReader, picture_hash
from connector_bench.processes import gather_all, on_every_rank, rank_and_size
from connector_bench.run.documents import AllRanksImages, Document, LocalImages, read_pictures

if TYPE_CHECKING:
    from PIL.Image import Image

    from connector_bench.types import TokenPair

__all__ = [
    "Document",
    "Figures",
    "Learner",
    "Measure",
    "ProbeTraining",
    "TaskFigures",
    "measure_documents",
    "picture_hash",
]

Consumer = Callable[[str, "TokenPair"], None]


class Figures(Protocol):
    """What a measure hands back when it has seen all images."""

    @property
    def per_image(self) -> Mapping[str, Mapping[str, float | str]]:
        """Figures of every image, or a note why it has none."""
        ...

    @property
    def per_document(self) -> Mapping[int, Mapping[str, float]]:
        """Figures of single documents, which may share an image."""
        ...

    @property
    def summary(self) -> dict[str, object]:
        """Intervals and provenance of the whole set."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know, in sentences."""
        ...


class Learner(Protocol):
    """What has to learn from training images before test images can be measured."""

    def begin(self, images: Collection[str], held_out: Collection[str], unreadable: int) -> None:
        """Told first, on all ranks: the training images and the test images of all ranks.

        `unreadable` counts the training documents whose picture could not be read.
        """
        ...

    def wants(self, image: str) -> bool:
        """Whether this image is still to be learnt from."""
        ...

    def learn(self, image: str, pair: TokenPair) -> None:
        """Take in one training image."""
        ...

    def fit(self) -> None:
        """Told last, on all ranks."""
        ...


class Measure(Protocol):
    """State that takes in images one by one and ends in figures per image."""

    def begin(self, documents: Mapping[str, Sequence[int]]) -> None:
        """Told first, on all ranks: the images of all ranks, each with the documents of the task that show it."""
        ...

    def wants(self, image: str) -> bool:
        """Whether this image is still to be measured."""
        ...

    def update(self, image: str, pair: TokenPair) -> None:
        """Take in one image, named by the hash of its pixels."""
        ...

    def finish(self, labels: dict[str, str]) -> Figures:
        """Figures over the images of all ranks; `labels` of this rank's images, where documents have one."""
        ...


@dataclass(frozen=True)
class ProbeTraining:
    """A learner and this rank's share of the documents that it learns from, whose `task` is its name."""

    name: str
    learner: Learner
    documents: Sequence[Document]
    tested_by: set[str] = field(default_factory=set)
    """Tasks whose test images it must not learn from."""


@dataclass(frozen=True)
class Passed:
    """What is noted of every image that has passed the model."""

    encoder_norm: float
    n_pre: int
    n_post: int


@dataclass(frozen=True)
class TaskFigures:
    """One task's outcome: an answer for every document of this rank, and a record of the whole."""

    answers: dict[int, dict[str, float | str | int]]
    summary: dict[str, object]
    warnings: tuple[str, ...]


def measure_documents(
    adapter: ConnectorAdapter,
    documents: Sequence[Document],
    measures: dict[str, Measure],
    trainings: Sequence[ProbeTraining] = (),
    *,
    batch_size: int,
) -> dict[str, TaskFigures]:
    """Stream every picture once and ask each task's measure for its figures.

    `measures` maps a task's name to its state. Identical pictures count once: the document with the lowest id
    carries the figures, the others name it. Raises what the model, a learner or a measure raises, on all ranks alike.
    """
    reader = PictureReader()
    seen = on_every_rank(lambda: read_pictures(documents, reader, "Reading pictures"))
    tested = AllRanksImages.of(seen)
    if trainings:
        _learn(adapter, trainings, tested, reader, batch_size)
    consumers: dict[str, list[Consumer]] = {}
    for task, measure in measures.items():
        shown = tested.documents_of(task)
        on_every_rank(lambda measure=measure, shown=shown: measure.begin(shown))  # type: ignore[misc]
        for image in shown:
            if image in tested.mine and measure.wants(image):
                consumers.setdefault(image, []).append(measure.update)
    passed: dict[str, Passed] = {}

    def note(image: str, pair: TokenPair) -> None:
        passed[image] = Passed(pair.encoder_norm, pair.layout.n_pre, pair.layout.n_post)

    for wanting in consumers.values():
        wanting.append(note)
    on_every_rank(lambda: _one_pass(adapter, tested, consumers, batch_size, "Vision tower and connector"))
    for part in gather_all(passed):
        passed |= part
    return {
        task: _task_figures(task, measure, documents, seen, tested, passed)
        for task, measure in measures.items()
    }


def _learn(
    adapter: ConnectorAdapter,
    trainings: Sequence[ProbeTraining],
    tested: AllRanksImages,
    reader: PictureReader,
    batch_size: int,
) -> None:
    documents = [document for training in trainings for document in training.documents]
    shown = AllRanksImages.of(
        on_every_rank(lambda: read_pictures(documents, reader, "Reading training pictures"))
    )
    consumers: dict[str, list[Consumer]] = {}
    for training in trainings:
        images = set(shown.image_of.get(training.name, {}).values())
        held_out = {image for task in training.tested_by for image in tested.image_of.get(task, {}).values()}
        unreadable = len(shown.unreadable.get(training.name, {}))
        on_every_rank(lambda training=training: training.learner.begin(images, held_out, unreadable))  # type: ignore[misc]  # noqa: B023
        for image in images:
            if image in shown.mine and training.learner.wants(image):
                consumers.setdefault(image, []).append(training.learner.learn)
    on_every_rank(lambda: _one_pass(adapter, shown, consumers, batch_size, "Training images"))
    for training in trainings:
        on_every_rank(training.learner.fit)


def _one_pass(
    adapter: ConnectorAdapter,
    everywhere: AllRanksImages,
    consumers: Mapping[str, Sequence[Consumer]],
    batch_size: int,
    title: str,
) -> None:
    pictures = _pictures(everywhere, consumers, title)
    for image, pair in capture.stream(adapter, pictures, batch_size):
        for take in consumers[image]:
            take(image, pair)


def _pictures(everywhere: AllRanksImages, wanted: Collection[str], title: str) -> Iterator[tuple[str, Image]]:
    from tqdm import tqdm

    rank, _ = rank_and_size()
    names = [name for name in everywhere.mine if name in wanted]
    for name in tqdm(names, desc=title, unit="image", disable=rank != 0):
        yield name, everywhere.mine[name]().convert("RGB")


def _task_figures(
    task: str,
    measure: Measure,
    documents: Sequence[Document],
    seen: LocalImages,
    tested: AllRanksImages,
    passed: Mapping[str, Passed],
) -> TaskFigures:
    mine = [document for document in documents if document.task == task]
    image_of = {d.doc_id: seen.image_of[task, d.doc_id] for d in mine if (task, d.doc_id) in seen.image_of}
    labels = {image_of[d.doc_id]: d.label for d in mine if d.doc_id in image_of and d.label is not None}
    figures = measure.finish(labels)
    first = {image: numbers[0] for image, numbers in tested.documents_of(task).items()}
    answers: dict[int, dict[str, Any]] = {}
    for doc_id, image in image_of.items():
        answers[doc_id] = {"image": image, **figures.per_document.get(doc_id, {})}
        if first[image] == doc_id:
            of_picture = {"entropy": seen.entropy[image]}
            if image in passed:
                of_picture["encoder_norm"] = passed[image].encoder_norm
            answers[doc_id] |= {**of_picture, **figures.per_image.get(image, {})}
        else:
            answers[doc_id]["same_image_as"] = first[image]
    unreadable, left_out = (part.get(task, {}) for part in (tested.unreadable, tested.left_out))
    for word, reasons in (("unreadable", unreadable), ("left_out", left_out)):
        answers |= {d.doc_id: {word: reasons[d.doc_id]} for d in mine if d.doc_id in reasons}
    of_task = [passed[image] for image in first if image in passed]
    summary = {
        **figures.summary,
        "tokens_per_image": _tokens_per_image(of_task) if of_task else None,
        "n_documents": len(tested.image_of.get(task, {})) + len(unreadable) + len(left_out),
        "left_out": dict(Counter(left_out.values())),
        "unreadable": {str(doc_id): why for doc_id, why in sorted(unreadable.items())},
    }
    why = "its picture cannot be read"
    warnings = [f"document {doc_id} left out, {why}: {error}" for doc_id, error in sorted(unreadable.items())]
    return TaskFigures(answers, summary, (*figures.warnings, *warnings))


def _tokens_per_image(passed: Sequence[Passed]) -> dict[str, list[int]]:
    """Fewest and most tokens of an image on either side of the connector."""
    sides = {"pre": [one.n_pre for one in passed], "post": [one.n_post for one in passed]}
    return {side: [min(counts), max(counts)] for side, counts in sides.items()}
