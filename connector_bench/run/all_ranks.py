"""What the documents of all ranks show, and which pictures are whose to pass through the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from connector_bench.processes import gather_all, rank_and_size
from connector_bench.run.documents import Document
from connector_bench.run.reading import LocalImages

ByDocument = dict[str, dict[int, str]]
"""By task and document."""
Labels = Mapping[str, str]
"""Labels and captions by column."""
T = TypeVar("T")


@dataclass(frozen=True)
class AllRanksImages:
    """What the documents of all ranks show."""

    image_of: ByDocument
    """The picture of every document."""
    unreadable: ByDocument
    left_out: ByDocument
    labels: dict[str, dict[int, Labels]]
    files: ByDocument
    several: dict[str, set[int]]
    mine: Mapping[str, Document]
    """The pictures that this rank is to pass through the model: every picture is one rank's."""

    @classmethod
    def of(cls, seen: LocalImages) -> AllRanksImages:
        """Put together what all ranks have seen."""
        words = (seen.image_of, seen.unreadable, seen.left_out, seen.files)
        parts = gather_all((words, seen.labels, seen.several))
        holders: dict[str, list[int]] = {}
        several: dict[str, set[int]] = {}
        for rank, ((shown, *_), _, more) in enumerate(parts):
            for image in dict.fromkeys(shown.values()):
                holders.setdefault(image, []).append(rank)
            for task, doc_id in more:
                several.setdefault(task, set()).add(doc_id)
        own, _ = rank_and_size()
        mine = {name: one for name, one in seen.shown_by.items() if _owner(name, holders[name]) == own}
        image_of, unreadable, left_out, files = (
            _by_document(found) for found in zip(*(words for words, _, _ in parts), strict=True)
        )
        labels = _by_document([given for _, given, _ in parts])
        return cls(image_of, unreadable, left_out, labels, files, several, mine)

    def documents_of(self, task: str) -> dict[str, list[int]]:
        """A task's documents by the picture that they show, both in rising order of documents."""
        found: dict[str, list[int]] = {}
        for doc_id, image in sorted(self.image_of.get(task, {}).items()):
            found.setdefault(image, []).append(doc_id)
        return found

    def labels_of(self, task: str) -> dict[str, dict[str, str]]:
        """A task's labels by picture and column, whichever rank has met them; a picture with two different ones in a
        column has none there."""
        return {
            image: {column: label for column, (label, *others) in columns.items() if not others}
            for image, columns in self._labels_given(task).items()
        }

    def contradictions(self, task: str) -> int:
        """How many of a task's pictures stand under two different labels."""
        return sum(
            any(len(labels) > 1 for labels in columns.values())
            for columns in self._labels_given(task).values()
        )

    def _labels_given(self, task: str) -> dict[str, dict[str, list[str]]]:
        image_of = self.image_of.get(task, {})
        given: dict[str, dict[str, list[str]]] = {}
        for doc_id, labels in sorted(self.labels.get(task, {}).items()):
            columns = given.setdefault(image_of[doc_id], {})
            for column, label in labels.items():
                known = columns.setdefault(column, [])
                if label not in known:
                    known.append(label)
        return given

    def refuse_none(self, task: str) -> None:
        """ValueError where a task has documents and none of them has a picture to be measured."""
        why = [*self.unreadable.get(task, {}).values(), *self.left_out.get(task, {}).values()]
        if why and not self.image_of.get(task):
            raise ValueError(f"0 of {len(why)} documents have a picture: {most_common(why)}")


def most_common(reasons: Sequence[str]) -> str:
    """The reason given most often, and how many were others."""
    ((first, count),) = Counter(reasons).most_common(1)
    return first if count == len(reasons) else f"{first}, and {len(reasons) - count} others"


def _by_document(parts: Sequence[Mapping[tuple[str, int], T]]) -> dict[str, dict[int, T]]:
    found: dict[str, dict[int, T]] = {}
    for part in parts:
        for (task, doc_id), value in part.items():
            found.setdefault(task, {})[doc_id] = value
    return found


def _owner(image: str, ranks: Sequence[int]) -> int:
    """One of the ranks that hold a picture, by its hash, so that they share the work evenly."""
    return ranks[int(image[:8], 16) % len(ranks)]
