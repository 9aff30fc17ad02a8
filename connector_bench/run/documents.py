"""Documents of all tasks and ranks, and which picture each of them shows."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.pictures import (
    KNOWS,
    PictureFacts,
    PictureReader,
    as_rgb,
    encoded_picture,
    file_of_picture,
    picture_facts,
    reason,
    strict_decoding,
    without_folders,
)
from connector_bench.processes import gather_all, rank_and_size
from connector_bench.workers import in_order, in_parts, worker_count, worker_threads

if TYPE_CHECKING:
    from PIL.Image import Image

    from connector_bench.workers.crew import Crew


class NoPicture(ValueError):
    """A document has no picture; the message says what it has instead."""


@dataclass(frozen=True)
class Document:
    """One document of a task: where its picture comes from."""

    task: str
    doc_id: int
    source: str
    """Documents of one source and one `doc_id` hold the same picture, so it is looked at once."""
    shown: Callable[[], tuple[Image, int]]
    """Its first picture as RGB, and how many it has."""
    label: str | None = None
    encoded: Callable[[], bytes | None] | None = None
    """The bytes that `shown` decodes, where it does nothing else."""
    left_out: str | None = None
    """Why its picture is not measured; None where it is."""
    file: Callable[[], str | None] | None = None
    """Name of the picture's file, where there is one."""
    rows: PictureRows | None = None
    """What `shown`, `encoded` and `file` read, where they share it with other documents."""
    facts: Callable[[], PictureFacts] | None = None
    """What is known of its picture already, where it need not be read."""

    def load(self) -> Image:
        """Its first picture as RGB. Raises whatever stands against it."""
        return self.shown()[0]

    def file_name(self) -> str | None:
        """Name of its picture's file, where there is one."""
        try:
            return self.file() if self.file is not None else None
        except Exception:  # what stands against the picture may stand against its name
            return None


@dataclass(frozen=True)
class PictureRows:
    """A `datasets.Dataset` and how a row's pictures are had from it."""

    rows: Any
    to_visual: Callable[[Any], Any]
    source: str
    """Tells data sets apart: the same number in the same source is the same picture."""

    def shown(self, number: int) -> tuple[Image, int]:
        """A row's first picture as RGB, and how many it has.

        Raises NoPicture where it has none, and what decoding, `to_visual` and `as_rgb` raise.
        """
        with strict_decoding():
            pictures = as_pictures(self.to_visual(self.rows[number]))
            return as_rgb(pictures[0]), len(pictures)

    @cached_property
    def _stored(self) -> Any:
        """The rows as they are stored, made once: a view of them takes half a millisecond."""
        return self.rows.with_format("arrow") if hasattr(self.rows, "with_format") else self.rows

    def picture(self, number: int) -> Image:
        """A row's first picture as RGB. Raises what `shown` raises."""
        return self.shown(number)[0]

    def encoded(self, number: int) -> bytes | None:
        """The bytes that `shown` decodes and nothing else, None where there are none such."""
        return encoded_picture(self._stored, number, self.to_visual)

    def file(self, number: int) -> str | None:
        """Name of the file of a row's picture, where there is one."""
        return file_of_picture(self._stored, number, self.to_visual)

    def facts(self, number: int) -> PictureFacts:
        """What the task's `doc_to_visual` knows of a row's picture without reading it."""
        known: PictureFacts = getattr(self.to_visual, KNOWS)(self.rows[number])
        return known

    def document(
        self, task: str, number: int, label: str | None = None, left_out: str | None = None
    ) -> Document:
        """Where the measurement finds this row's picture."""
        return Document(
            task,
            number,
            self.source,
            partial(self.shown, number),
            label,
            partial(self.encoded, number),
            left_out,
            partial(self.file, number),
            self,
            partial(self.facts, number) if hasattr(self.to_visual, KNOWS) else None,
        )

    def spread(self, most: int | None) -> list[int]:
        """Numbers of at most so many rows, evenly spread over all of them."""
        total = len(self.rows)
        count = min(total, most or total)
        return [number * total // count for number in range(count)]


def as_pictures(visuals: Any) -> list[Image]:
    """What a `doc_to_visual` gave, as a list of pictures: a single one is a list of one, arrays are pictures.

    NoPicture where there is none, or something else among them.
    """
    from PIL import Image

    given = list(visuals) if isinstance(visuals, (list, tuple)) else [visuals]
    pictures = [Image.fromarray(one) if isinstance(one, np.ndarray) else one for one in given]
    if not pictures or not all(isinstance(one, Image.Image) for one in pictures):
        raise NoPicture(f"doc_to_visual gave {without_folders(repr(visuals)):.80}")
    return pictures


HASHED_TOGETHER, DECODED_TOGETHER = 64, 16
"""Documents in one message to a worker process."""


@dataclass
class LocalImages:
    """What this rank's documents show."""

    image_of: dict[tuple[str, int], str] = field(default_factory=dict)
    """Name of the picture by task and document."""
    unreadable: dict[tuple[str, int], str] = field(default_factory=dict)
    left_out: dict[tuple[str, int], str] = field(default_factory=dict)
    labels: dict[tuple[str, int], str] = field(default_factory=dict)
    files: dict[tuple[str, int], str] = field(default_factory=dict)
    """Files of documents that cannot be read, or have more pictures than the one that is measured."""
    several: set[tuple[str, int]] = field(default_factory=set)
    """Documents with more pictures than the one that is measured."""
    entropy: dict[str, float] = field(default_factory=dict)
    shown_by: dict[str, Document] = field(default_factory=dict)
    """One document for each picture."""


def read_pictures(
    documents: Sequence[Document], reader: PictureReader, title: str, crew: Crew | None = None
) -> LocalImages:
    """Decode and name every picture in threads, or by a crew; what cannot be had, for whatever reason, is left out."""
    from tqdm import tqdm

    first: dict[tuple[str, int], Document] = {}
    for document in documents:
        if document.left_out is None:
            first.setdefault((document.source, document.doc_id), document)
    facts_of: dict[tuple[str, int], PictureFacts | str] = {}
    read = _in_threads(first, reader) if crew is None else _by_crew(first, reader, crew)
    bar = tqdm(total=len(documents), desc=title, unit="image", disable=rank_and_size()[0] != 0)
    with bar, closing(read) as found:
        for part in found:
            facts_of |= part
            bar.update(len(part))
        bar.update(len(documents) - len(first))
    seen = LocalImages()
    for document in documents:
        key = (document.task, document.doc_id)
        if document.left_out is not None:
            seen.left_out[key] = document.left_out
        else:
            _note(seen, document, facts_of[document.source, document.doc_id])
    return seen


Place = tuple[str, int]
"""Source and number of a document."""
FactsOf = dict[Place, PictureFacts | str]


def _in_threads(documents: Mapping[Place, Document], reader: PictureReader) -> Generator[FactsOf, None, None]:
    from PIL import Image

    Image.preinit()
    Image.init()  # in threads of its own it may miss a format that another thread is just loading
    with worker_threads(count := worker_count()) as pool:
        found = in_order(pool, lambda one: _facts(one, reader), documents.values(), 8 * max(count, 1))
        for place, facts in zip(documents, found, strict=True):
            yield {place: facts}


def _by_crew(
    documents: Mapping[Place, Document], reader: PictureReader, crew: Crew
) -> Generator[FactsOf, None, None]:
    """The same by worker processes: what a worker cannot decode is tried here, so that each refusal is this process's.

    Files are hashed first, so that each is decoded once, whichever worker meets it.
    """
    found: FactsOf = {}
    twins: dict[Place, Place] = {}
    asked: deque[Sequence[Place]] = deque()

    def chunks() -> Iterator[list[Callable[[], tuple[Image, int]]]]:
        for chunk in in_parts(_one_of_each_file(documents, twins, crew), DECODED_TOGETHER):
            asked.append(chunk)
            yield [documents[place].shown for place in chunk]

    for _, answer in crew.in_order(facts_elsewhere, chunks()):
        places = asked.popleft()
        given: Sequence[PictureFacts | None] = answer.value or [None] * len(places)
        part = {
            place: facts or _facts(documents[place], reader)
            for place, facts in zip(places, given, strict=True)
        }
        found |= part
        yield part
    for place, first in twins.items():
        facts = found[first]
        yield {place: _facts(documents[place], reader) if isinstance(facts, str) else facts}


def _one_of_each_file(
    documents: Mapping[Place, Document], twins: dict[Place, Place], crew: Crew
) -> Iterator[Place]:
    """Documents to decode; the others are put among `twins`, each with one that shows the same file."""
    first: dict[bytes, Place] = {}
    asked: deque[Sequence[Place]] = deque()

    def chunks() -> Iterator[list[Callable[[], bytes | None] | None]]:
        for chunk in in_parts(documents, HASHED_TOGETHER):
            asked.append(chunk)
            yield [documents[place].encoded for place in chunk]

    for _, answer in crew.in_order(files_elsewhere, chunks()):
        places = asked.popleft()
        for place, file in zip(places, answer.value or [None] * len(places), strict=True):
            if file is None or first.setdefault(file, place) == place:
                yield place
            else:
                twins[place] = first[file]


def files_elsewhere(chunk: Sequence[Callable[[], bytes | None] | None]) -> list[bytes | None]:
    """A hash of every encoded file, None where there is none that can be read; the work of a worker process."""
    return [_file_hash(encoded) for encoded in chunk]


def _file_hash(encoded: Callable[[], bytes | None] | None) -> bytes | None:
    try:
        content = None if encoded is None else encoded()
    except Exception:  # it is said of the picture, by the process itself
        return None
    return None if content is None else hashlib.sha256(content).digest()


def facts_elsewhere(chunk: Sequence[Callable[[], tuple[Image, int]]]) -> list[PictureFacts | None]:
    """Facts about pictures, None about those that cannot be had; the work of a worker process."""
    return [_facts_if_any(shown) for shown in chunk]


def _facts_if_any(shown: Callable[[], tuple[Image, int]]) -> PictureFacts | None:
    try:
        return picture_facts(*shown())
    except Exception:  # it is said of the picture, by the process itself
        return None


def first_of(shown: Callable[[], tuple[Image, int]]) -> Image:
    """The picture that a document shows."""
    return shown()[0]


def _note(seen: LocalImages, document: Document, facts: PictureFacts | str) -> None:
    key = (document.task, document.doc_id)
    if isinstance(facts, str):
        seen.unreadable[key] = facts
        _note_file(seen, document)
        return
    seen.image_of[key] = facts.name
    seen.entropy[facts.name] = facts.entropy
    seen.shown_by.setdefault(facts.name, document)
    if document.label is not None:
        seen.labels[key] = document.label
    if facts.pictures > 1:
        seen.several.add(key)
        _note_file(seen, document)


def _note_file(seen: LocalImages, document: Document) -> None:
    file = document.file_name()
    if file is not None:
        seen.files[document.task, document.doc_id] = file


def _facts(document: Document, reader: PictureReader) -> PictureFacts | str:
    """What is known of a document's picture, or why it cannot be had."""
    try:
        if document.facts is not None:
            return document.facts()
        return reader.facts(document.shown, document.encoded)
    except NoPicture as error:
        return str(error)
    except Exception as error:  # decoders, data sets and users' functions raise whatever they like
        return reason(error)


ByDocument = dict[str, dict[int, str]]
"""By task and document."""


@dataclass(frozen=True)
class AllRanksImages:
    """What the documents of all ranks show."""

    image_of: ByDocument
    """The picture of every document."""
    unreadable: ByDocument
    left_out: ByDocument
    labels: ByDocument
    files: ByDocument
    several: dict[str, set[int]]
    mine: Mapping[str, Document]
    """The pictures that this rank is to pass through the model: every picture is one rank's."""

    @classmethod
    def of(cls, seen: LocalImages) -> AllRanksImages:
        """Put together what all ranks have seen."""
        words = (seen.image_of, seen.unreadable, seen.left_out, seen.labels, seen.files)
        parts = gather_all((words, seen.several))
        holders: dict[str, list[int]] = {}
        several: dict[str, set[int]] = {}
        for rank, ((shown, *_), more) in enumerate(parts):
            for image in dict.fromkeys(shown.values()):
                holders.setdefault(image, []).append(rank)
            for task, doc_id in more:
                several.setdefault(task, set()).add(doc_id)
        own, _ = rank_and_size()
        mine = {name: one for name, one in seen.shown_by.items() if _owner(name, holders[name]) == own}
        image_of, unreadable, left_out, labels, files = (
            _by_document(found) for found in zip(*(words for words, _ in parts), strict=True)
        )
        return cls(image_of, unreadable, left_out, labels, files, several, mine)

    def documents_of(self, task: str) -> dict[str, list[int]]:
        """A task's documents by the picture that they show, both in rising order of documents."""
        found: dict[str, list[int]] = {}
        for doc_id, image in sorted(self.image_of.get(task, {}).items()):
            found.setdefault(image, []).append(doc_id)
        return found

    def labels_of(self, task: str) -> dict[str, str]:
        """A task's labels by picture, whichever rank has met them; a picture with two different ones has none."""
        given = self._labels_given(task)
        return {image: label for image, (label, *others) in given.items() if not others}

    def contradictions(self, task: str) -> int:
        """How many of a task's pictures stand under two different labels."""
        return sum(len(labels) > 1 for labels in self._labels_given(task).values())

    def _labels_given(self, task: str) -> dict[str, list[str]]:
        image_of = self.image_of.get(task, {})
        given: dict[str, dict[str, None]] = {}
        for doc_id, label in sorted(self.labels.get(task, {}).items()):
            given.setdefault(image_of[doc_id], {})[label] = None
        return {image: list(labels) for image, labels in given.items()}

    def refuse_none(self, task: str) -> None:
        """ValueError where a task has documents and none of them has a picture to be measured."""
        why = [*self.unreadable.get(task, {}).values(), *self.left_out.get(task, {}).values()]
        if why and not self.image_of.get(task):
            raise ValueError(f"0 of {len(why)} documents have a picture: {most_common(why)}")


def most_common(reasons: Sequence[str]) -> str:
    """The reason given most often, and how many were others."""
    ((first, count),) = Counter(reasons).most_common(1)
    return first if count == len(reasons) else f"{first}, and {len(reasons) - count} others"


def _by_document(parts: Sequence[Mapping[tuple[str, int], str]]) -> ByDocument:
    found: ByDocument = {}
    for part in parts:
        for (task, doc_id), value in part.items():
            found.setdefault(task, {})[doc_id] = value
    return found


def _owner(image: str, ranks: Sequence[int]) -> int:
    """One of the ranks that hold a picture, by its hash, so that they share the work evenly."""
    return ranks[int(image[:8], 16) % len(ranks)]
