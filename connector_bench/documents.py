"""Documents of all tasks and ranks, and which picture each of them shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connector_bench.exchange import gather_all, rank_and_size
from connector_bench.pictures import PictureReader

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Document:
    """One document of a task: where its picture comes from."""

    task: str
    doc_id: int
    source: str
    """Documents of one source and one `doc_id` hold the same picture, so it is looked at once."""
    load: Callable[[], Image]
    label: str | None = None
    encoded: Callable[[], bytes | None] | None = None
    """The bytes that `load` decodes, where it does nothing else."""
    left_out: str | None = None
    """Why its picture is not measured; None where it is."""


@dataclass
class Seen:
    """What this rank's documents show."""

    image_of: dict[tuple[str, int], str] = field(default_factory=dict)
    """Name of the picture by task and document."""
    unreadable: dict[tuple[str, int], str] = field(default_factory=dict)
    left_out: dict[tuple[str, int], str] = field(default_factory=dict)
    entropy: dict[str, float] = field(default_factory=dict)
    load: dict[str, Callable[[], Image]] = field(default_factory=dict)
    """One way to each picture."""


def look(documents: Sequence[Document], reader: PictureReader, title: str) -> Seen:
    """Decode and name every picture; what cannot be read is noted and left out."""
    from tqdm import tqdm

    seen = Seen()
    by_place: dict[tuple[str, int], str] = {}
    for document in tqdm(documents, desc=title, unit="document", disable=rank_and_size()[0] != 0):
        place, key = (document.source, document.doc_id), (document.task, document.doc_id)
        if document.left_out is not None:
            seen.left_out[key] = document.left_out
            continue
        if place not in by_place:
            try:
                facts = reader.facts(document.load, document.encoded)
            except (OSError, ValueError, SyntaxError) as error:
                seen.unreadable[key] = f"{type(error).__name__}: {error}"
                continue
            by_place[place] = facts.name
            seen.entropy[facts.name] = facts.entropy
            seen.load.setdefault(facts.name, document.load)
        seen.image_of[key] = by_place[place]
    return seen


@dataclass(frozen=True)
class Everywhere:
    """What the documents of all ranks show."""

    image_of: dict[str, dict[int, str]]
    """By task: the picture of every document."""
    unreadable: dict[str, dict[int, str]]
    left_out: dict[str, dict[int, str]]
    mine: Mapping[str, Callable[[], Image]]
    """The pictures that this rank is to pass through the model: every picture is one rank's."""

    @classmethod
    def of(cls, seen: Seen) -> Everywhere:
        """Put together what all ranks have seen."""
        image_of: dict[str, dict[int, str]] = {}
        unreadable: dict[str, dict[int, str]] = {}
        left_out: dict[str, dict[int, str]] = {}
        holders: dict[str, list[int]] = {}
        everything = gather_all((seen.image_of, seen.unreadable, seen.left_out))
        for rank, (shown, *reasons) in enumerate(everything):
            for (task, doc_id), image in shown.items():
                image_of.setdefault(task, {})[doc_id] = image
            for found, into in zip(reasons, (unreadable, left_out), strict=True):
                for (task, doc_id), why in found.items():
                    into.setdefault(task, {})[doc_id] = why
            for image in dict.fromkeys(shown.values()):
                holders.setdefault(image, []).append(rank)
        own, _ = rank_and_size()
        mine = {name: load for name, load in seen.load.items() if _owner(name, holders[name]) == own}
        return cls(image_of, unreadable, left_out, mine)

    def documents_of(self, task: str) -> dict[str, list[int]]:
        """A task's documents by the picture that they show, both in rising order of documents."""
        found: dict[str, list[int]] = {}
        for doc_id, image in sorted(self.image_of.get(task, {}).items()):
            found.setdefault(image, []).append(doc_id)
        return found


def _owner(image: str, ranks: Sequence[int]) -> int:
    """One of the ranks that hold a picture, by its hash, so that they share the work evenly."""
    return ranks[int(image[:8], 16) % len(ranks)]
