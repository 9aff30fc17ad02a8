"""A run's images through tower and connector: once those that train, then once those that test, for all measures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from connector_bench.connectors.base import ConnectorAdapter
from connector_bench.connectors.capture import BatchSize
from connector_bench.pictures import PictureReader, picture_hash
from connector_bench.processes import error_text, on_every_rank
from connector_bench.run.all_ranks import AllRanksImages, most_common
from connector_bench.run.answers import Figures, TaskFigures, TrainingRemarks, task_figures
from connector_bench.run.documents import Document
from connector_bench.run.passing import Consumer, PassOutcome, Way, one_pass
from connector_bench.run.reading import read_pictures
from connector_bench.timing import Timing

if TYPE_CHECKING:
    from connector_bench.types import TokenBatch
    from connector_bench.workers.crew import Crew

__all__ = [
    "Document",
    "Failed",
    "Figures",
    "Learner",
    "Measure",
    "ProbeTraining",
    "TaskFigures",
    "measure_documents",
    "picture_hash",
]

T = TypeVar("T")


class Learner(Protocol):
    """What has to learn from training images before test images can be measured."""

    def begin(self, images: Mapping[str, Sequence[int]], held_out: Collection[str], unreadable: int) -> None:
        """Told first, on all ranks: the training images, each with the documents that show it, and the test images.

        `unreadable` counts the training documents whose picture could not be read.
        """
        ...

    def refuse(self, images: Collection[str]) -> None:
        """Told before `fit`, on all ranks: training images of all ranks that gave nothing to learn from."""
        ...

    def wants(self, image: str) -> bool:
        """Whether this image is still to be learnt from."""
        ...

    def wants_untrained(self, image: str) -> bool:
        """Whether what untrained copies of the connector make of this image is to be learnt from too."""
        ...

    def learn(self, batch: TokenBatch) -> None:
        """Take in some training images."""
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

    def wants_untrained(self, image: str) -> bool:
        """Whether what untrained copies of the connector make of this image is to be measured too."""
        ...

    def update(self, batch: TokenBatch) -> None:
        """Take in some images, named by the hashes of their pixels."""
        ...

    def finish(self, labels: dict[str, dict[str, str]]) -> Figures:
        """Figures over the images of all ranks; `labels`, by column, of all images whose documents have some."""
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
class Failed:
    """One task's outcome where it has no figures."""

    error: str


class Failures:
    """Why tasks have no figures. A task that has failed takes no further part, on all ranks alike."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    def attempt(self, tasks: Collection[str], work: Callable[[], T]) -> T | None:
        """`work` on every rank for these tasks; an error on any rank is theirs, and None is given."""
        if all(task in self.of for task in tasks):
            return None
        try:
            return on_every_rank(work)
        except Exception as error:
            self.blame(tasks, error_text(error))
            return None

    def blame(self, tasks: Iterable[str], error: str) -> None:
        """These tasks have failed, unless they had before."""
        self.of = dict.fromkeys(tasks, error) | self.of


def measure_documents(
    adapter: ConnectorAdapter,
    documents: Sequence[Document],
    measures: dict[str, Measure],
    trainings: Sequence[ProbeTraining] = (),
    *,
    batch_size: BatchSize,
    timing: Timing,
    crew: Crew | None = None,
) -> dict[str, TaskFigures | Failed]:
    """Stream every picture once and ask each task's measure for its figures.

    `measures` maps a task's name to its state. Identical pictures count once: the document with the lowest id
    carries the figures, the others name it. Pictures that cannot be measured are left out; a task whose measure or
    training raises has failed and costs the others nothing. A `crew` decodes and prepares in place of threads. Raises
    what the model raises, on all ranks alike.
    """
    way = Way(adapter, PictureReader(), batch_size, timing, crew)
    with timing.of("reading pictures"):
        seen = on_every_rank(lambda: read_pictures(documents, way.reader, "Reading pictures", crew))
    tested = AllRanksImages.of(seen)
    failures = Failures()
    for task in measures:
        failures.attempt([task], partial(tested.refuse_none, task))
    learnt = _learn(way, trainings, tested, failures)
    consumers: dict[str, list[Consumer]] = {}
    for task, measure in measures.items():
        shown = tested.documents_of(task)
        failures.attempt([task], partial(measure.begin, shown))
        if task not in failures.of:
            _enlist(
                consumers, [image for image in shown if image in tested.mine], task, measure, measure.update
            )
    outcome = one_pass(way, tested, consumers, "Vision tower and connector")
    for task, error in outcome.failed.items():
        failures.blame([task], error)
    found: dict[str, TaskFigures | Failed] = {}
    for task, measure in measures.items():
        labels = tested.labels_of(task)
        with timing.of(f"figures of {task}"):
            figures = failures.attempt(
                [task], partial(_finished, measure, labels, tested.documents_of(task), outcome)
            )
        if figures is None:
            found[task] = Failed(failures.of[task])
        else:
            own = [document for document in documents if document.task == task]
            lines = learnt.get(task, TrainingRemarks())
            found[task] = task_figures(task, figures, own, seen, tested, outcome, lines)
    return found


def _enlist(
    consumers: dict[str, list[Consumer]],
    images: Iterable[str],
    owner: str,
    what: Measure | Learner,
    take: Callable[[TokenBatch], None],
) -> None:
    """Note for every image that is wanted who wants it, and whether with untrained copies."""
    ways = {copies: Consumer(owner, take, copies) for copies in (False, True)}
    for image in images:
        if what.wants(image):
            consumers.setdefault(image, []).append(ways[what.wants_untrained(image)])


def _finished(
    measure: Measure, labels: dict[str, dict[str, str]], shown: Mapping[str, object], outcome: PassOutcome
) -> Figures:
    reasons = [outcome.refused[image] for image in shown if image in outcome.refused]
    if reasons and len(reasons) == len(shown):
        raise ValueError(f"0 of {len(shown)} pictures could be measured: {most_common(reasons)}")
    return measure.finish(labels)


def _learn(
    way: Way,
    trainings: Sequence[ProbeTraining],
    tested: AllRanksImages,
    failures: Failures,
) -> dict[str, TrainingRemarks]:
    """Fit every training; what is to be said of them by task. A training that fails is its tasks' failure."""
    if not trainings:
        return {}
    documents = [document for training in trainings for document in training.documents]
    with way.timing.of("reading pictures"):
        seen = on_every_rank(
            lambda: read_pictures(documents, way.reader, "Reading training pictures", way.crew)
        )
    shown = AllRanksImages.of(seen)
    consumers: dict[str, list[Consumer]] = {}
    for training in trainings:
        images = set(shown.image_of.get(training.name, {}).values())
        failures.attempt(training.tested_by, partial(_begin, training, shown, tested))
        if _alive(training, failures):
            learner = training.learner
            mine = [image for image in images if image in shown.mine]
            _enlist(consumers, mine, training.name, learner, learner.learn)
    everyone = {task for training in trainings for task in training.tested_by}
    outcome = failures.attempt(everyone, lambda: one_pass(way, shown, consumers, "Training images"))
    if outcome is None:
        return {}
    remarks: dict[str, TrainingRemarks] = {}
    for training in trainings:
        if training.name in outcome.failed:
            failures.blame(training.tested_by, outcome.failed[training.name])
        with way.timing.of(f"fits of {training.name}"):
            failures.attempt(training.tested_by, partial(_fit, training, outcome, shown))
        remarks |= dict.fromkeys(training.tested_by, TrainingRemarks.of(training.name, shown, outcome))
    return remarks


def _alive(training: ProbeTraining, failures: Failures) -> bool:
    return not all(task in failures.of for task in training.tested_by)


def _begin(training: ProbeTraining, shown: AllRanksImages, tested: AllRanksImages) -> None:
    shown.refuse_none(training.name)
    held_out = {image for task in training.tested_by for image in tested.image_of.get(task, {}).values()}
    images = shown.documents_of(training.name)
    training.learner.begin(images, held_out, len(shown.unreadable.get(training.name, {})))


def _fit(training: ProbeTraining, outcome: PassOutcome, shown: AllRanksImages) -> None:
    images = shown.image_of.get(training.name, {}).values()
    training.learner.refuse({image for image in images if image in outcome.refused})
    training.learner.fit()
