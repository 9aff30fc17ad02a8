"""Every document's picture is decoded once and named, by threads or by worker processes."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connector_bench.pictures import PictureFacts, PictureReader, picture_facts, reason
from connector_bench.processes import rank_and_size
from connector_bench.run.documents import Document, NoPicture
from connector_bench.workers import in_order, in_parts, worker_count, worker_threads

if TYPE_CHECKING:
    from PIL.Image import Image

    from connector_bench.workers.crew import Crew

HASHED_TOGETHER, DECODED_TOGETHER = 64, 16
"""Documents in one message to a worker process."""


@dataclass
class LocalImages:
    """What this rank's documents show."""

    image_of: dict[tuple[str, int], str] = field(default_factory=dict)
    """Name of the picture by task and document."""
    unreadable: dict[tuple[str, int], str] = field(default_factory=dict)
    left_out: dict[tuple[str, int], str] = field(default_factory=dict)
    labels: dict[tuple[str, int], Mapping[str, str]] = field(default_factory=dict)
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

    What workers were lost over is left to threads. Files are hashed first, so that each is decoded once, whichever
    worker meets it.
    """
    found: FactsOf = {}
    twins: dict[Place, Place] = {}
    left: dict[Place, Document] = {}
    asked: deque[Sequence[Place]] = deque()

    def chunks() -> Iterator[list[Callable[[], tuple[Image, int]]]]:
        for chunk in in_parts(_one_of_each_file(documents, twins, crew), DECODED_TOGETHER):
            asked.append(chunk)
            yield [documents[place].shown for place in chunk]

    for _, answer in crew.in_order(facts_elsewhere, chunks()):
        places = asked.popleft()
        if answer.lost:
            left |= {place: documents[place] for place in places}
            continue
        given: Sequence[PictureFacts | None] = answer.value or [None] * len(places)
        part = {
            place: facts or _facts(documents[place], reader)
            for place, facts in zip(places, given, strict=True)
        }
        found |= part
        yield part
    for part in _in_threads(left, reader):
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


def _note(seen: LocalImages, document: Document, facts: PictureFacts | str) -> None:
    key = (document.task, document.doc_id)
    if isinstance(facts, str):
        seen.unreadable[key] = facts
        _note_file(seen, document)
        return
    seen.image_of[key] = facts.name
    seen.entropy[facts.name] = facts.entropy
    seen.shown_by.setdefault(facts.name, document)
    if document.labels:
        seen.labels[key] = document.labels
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
