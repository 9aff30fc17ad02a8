"""Documents of all tasks and ranks, and which picture each of them shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from connector_bench.pictures import PictureReader, encoded_picture
from connector_bench.processes import gather_all, rank_and_size

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


@dataclass(frozen=True)
class PictureRows:
    """A `datasets.Dataset` and how a row's pictures are had from it."""

    rows: Any
    to_visual: Callable[[Any], Any]
    source: str
    """Tells data sets apart: the same number in the same source is the same picture."""

    def picture(self, number: int) -> Image:
        """A row's first picture. ValueError where it has none."""
        from PIL import Image

        visuals = self.to_visual(self.rows[number])
        if not visuals or not isinstance(visuals[0], Image.Image):
            raise ValueError(f"the document has no picture: doc_to_visual gave {visuals!r:.80}")
        return visuals[0]

    def document(
        self, task: str, number: int, label: str | None = None, left_out: str | None = None
    ) -> Document:
        """Where the measurement finds this row's picture."""
        return Document(
            task,
            number,
            self.source,
            lambda: self.picture(number),
            label,
            lambda: encoded_picture(self.rows, number, self.to_visual),
            left_out,
        )

    def spread(self, most: int | None) -> list[int]:
        """Numbers of at most so many rows, evenly spread over all of them."""
        total = len(self.rows)
        count = min(total, most or total)
        return [number * total // count for number in range(count)]


@dataclass
class LocalImages:
    """What this rank's documents show."""

    image_of: dict[tuple[str, int], str] = field(default_factory=dict)
    """Name of the picture by task and document."""
    unreadable: dict[tuple[str, int], str] = field(default_factory=dict)
    left_out: dict[tuple[str, int], str] = field(default_factory=dict)
    entropy: dict[str, float] = field(default_factory=dict)
    load: dict[str, Callable[[], Image]] = field(default_factory=dict)
    """One way to each picture."""


def read_pictures(documents: Sequence[Document], reader: PictureReader, title: str) -> LocalImages:
    """Decode and name every picture; what cannot be read is noted and left out."""
    from tqdm import tqdm

    seen = LocalImages()
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
class AllRanksImages:
    """What the documents of all ranks show."""

    image_of: dict[str, dict[int, str]]
    """By task: the picture of every document."""
    unreadable: dict[str, dict[int, str]]
    left_out: dict[str, dict[int, str]]
    mine: Mapping[str, Callable[[], Image]]
    """The pictures that this rank is to pass through the model: every picture is one rank's."""

    @classmethod
    def of(cls, seen: LocalImages) -> AllRanksImages:
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
