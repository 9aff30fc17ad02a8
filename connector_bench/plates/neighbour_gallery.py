"""What a plate needs: the neighbours that a run has left, and the pictures from the data set that it measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from connector_bench.pictures import picture_hash
from connector_bench.plates.drawing import worst
from connector_bench.preservation.neighbour_lists import FILE, NeighbourLists
from connector_bench.results.harness_files import UnusableResult, read_results
from connector_bench.results.tasks import TaskRun

if TYPE_CHECKING:
    from PIL.Image import Image

    from connector_bench.run.documents import Document

Documents = Callable[[int], "Document"]
"""From a document's number to where its picture is."""


@dataclass(frozen=True)
class NeighbourGallery:
    """One model on the images of one task."""

    of: TaskRun

    @property
    def model(self) -> str:
        """The model's name."""
        return self.of.model

    @property
    def task(self) -> str:
        """The task's name."""
        return self.of.name

    @cached_property
    def nearest(self) -> NeighbourLists:
        """Neighbours of every image. Raises UnusableResult for a broken file."""
        folder = self.of.file.left_behind(self.task)
        assert folder is not None
        try:
            return NeighbourLists.load(folder)
        except ValueError as error:
            raise UnusableResult(str(error)) from error

    def rows(self, documents: Sequence[int], most_lost: int) -> list[int]:
        """Rows of the documents that were asked for, then of so many images that lost most neighbours.

        Raises UnusableResult for a document that is not in the gallery.
        """
        row_of = {number: row for row, number in enumerate(self.nearest.documents)}
        if missing := [number for number in documents if number not in row_of]:
            raise UnusableResult(
                f"{self.task}, {self.model}: no document {', '.join(map(str, missing))} among the "
                f"{len(row_of)} images, such as {', '.join(map(str, sorted(row_of)[:5]))}; of documents that show "
                "the same image the first counts"
            )
        chosen = [row_of[number] for number in documents]
        lost = worst(self.nearest.kept(self.nearest.columns), most_lost) if most_lost else np.empty(0, int)
        return list(dict.fromkeys([*chosen, *lost.tolist()]))

    def caption(self, row: int, documents: Documents) -> str:
        """A row's document and class. UnusableResult where the data set has no such document."""
        number = self.nearest.documents[row]
        with self._reading(number):
            label = next(iter(documents(number).labels.values()), None)
        return f"document {number}" + (f"\n{label}" if label is not None else "")

    def picture(self, row: int, documents: Documents) -> Image:
        """A row's picture. UnusableResult where the data set holds another one there, or none."""
        number = self.nearest.documents[row]
        with self._reading(number):
            picture = documents(number).load()
        if picture_hash(picture) != self.nearest.images[row]:
            raise UnusableResult(
                f"{self.task}: document {number} shows another picture than the one that was measured; "
                "the data set has changed since"
            )
        return picture

    @contextmanager
    def _reading(self, number: int) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, SyntaxError, IndexError, OverflowError) as error:
            raise UnusableResult(f"{self.task}: document {number} cannot be read: {error}") from error


def galleries(
    paths: Sequence[Path], model: str | None = None, task: str | None = None
) -> list[NeighbourGallery]:
    """Every model and task below these paths that has left neighbours; of several runs the latest.

    Raises:
        UnusableResult: files that are no result files, or none that has left neighbours of what was asked for.
    """
    files = read_results(paths)
    found: dict[tuple[str, str], NeighbourGallery] = {}
    for file in files:
        for name in file.records:
            folder = file.left_behind(name)
            if folder is not None and (folder / FILE).is_file():
                found[file.model, name] = NeighbourGallery(TaskRun(file, name))
    chosen = {
        key: gallery for key, gallery in found.items() if model in (None, key[0]) and task in (None, key[1])
    }
    if not chosen:
        there = "; ".join(f"{of}, {name}" for of, name in sorted(found)) or "none"
        raise UnusableResult(
            f"no {FILE} of {model or 'any model'}, {task or 'any task'}; there are: {there}. "
            "knn_preservation leaves it in the folder connector_bench of its --output_path"
        )
    return [chosen[key] for key in sorted(chosen)]
