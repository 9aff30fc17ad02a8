"""What a report is made of, before any HTML: sections of prose, charts, tables and picture galleries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from connector_bench.number_style import number
from connector_bench.report.chart import Chart
from connector_bench.report.estimates import INTERVAL, covers_chance, interval
from connector_bench.report.gallery_values import Gallery, Picture
from connector_bench.stats.intervals import Score

Tone = Literal["plain", "warning", "missing"]


@dataclass(frozen=True)
class Prose:
    """One paragraph. `warning`: a reader must not miss it; `missing`: what this report lacks, and how to get it."""

    kind: ClassVar[str] = "prose"
    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Facts:
    """Named values, in an order that means something."""

    kind: ClassVar[str] = "facts"
    name: str
    title: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class TableCell:
    """One table cell; `sort` is what it is sorted by where that is not its text."""

    text: str
    sort: float | None = None
    mark: str = ""
    """A remark shown beside it, such as `at chance`."""

    @property
    def key(self) -> float | None:
        """What it is sorted by; None for its text, also where the number is none."""
        return self.sort if self.sort is not None and math.isfinite(self.sort) else None


@dataclass(frozen=True)
class ReportTable:
    """Rows under named columns; the first column names the row."""

    kind: ClassVar[str] = "table"
    name: str
    title: str
    shows: str
    columns: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]


@dataclass(frozen=True)
class Finding:
    """One thing that figures say: what it is about in a few words, then the sentence."""

    about: str
    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Findings:
    """What the figures below them say, in words."""

    kind: ClassVar[str] = "findings"
    listed: tuple[Finding, ...]


@dataclass(frozen=True)
class Folded:
    """Blocks that are shown when asked for."""

    kind: ClassVar[str] = "folded"
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class PictureColumn:
    """One model's loss map of a picture."""

    model: str
    loss: float
    """Mean over the picture's patches."""
    heat: Picture


@dataclass(frozen=True)
class ComparedPicture:
    """One picture, and every model's loss map of it."""

    image: str
    """SHA-256 of the picture's pixels."""
    original: Picture
    columns: tuple[PictureColumn, ...]


@dataclass(frozen=True)
class SamePictures:
    """The same pictures for several models."""

    kind: ClassVar[str] = "same"
    name: str
    shows: str
    rows: tuple[ComparedPicture, ...]


Block: TypeAlias = "Prose | Chart | ReportTable | Facts | Gallery | SamePictures | Findings | Folded"


@dataclass(frozen=True)
class Section:
    """One heading with what follows it; `name` is its anchor, `label` its short name in the list of sections."""

    name: str
    label: str
    title: str
    blocks: tuple[Block, ...]
    folded: str = ""
    """What stands in place of the blocks until they are asked for; empty where they are shown at once."""


def flat(blocks: Iterable[Block]) -> Iterator[Block]:
    """The blocks and those that are folded into them, in the page's order."""
    for block in blocks:
        if isinstance(block, Folded):
            yield from flat(block.blocks)
        else:
            yield block


def control_findings(about: str, right: Sequence[str], wrong: Sequence[str]) -> list[Finding]:
    """How the controls came out; one that is not as it must be puts every other figure in doubt."""
    found = []
    if wrong:
        text = f"Not as they must be: {'; '.join(wrong)}. Read every other figure with that in mind."
        found.append(Finding(about, text, "warning"))
    if right:
        found.append(Finding(about, f"As they must be: {'; '.join(right)}."))
    return found


SCORE_COLUMNS = (INTERVAL, "chance", "N")


def score_cells(score: Score) -> tuple[TableCell, ...]:
    """The cells under `SCORE_COLUMNS`; a figure that chance would give as well is marked."""
    mark = "not distinguishable from chance" if covers_chance(score) else ""
    return (
        TableCell(interval(score), score.value, mark),
        TableCell(number(score.chance), score.chance),
        TableCell(f"{score.n:,}", score.n),
    )


def cell_of(score: Score | None) -> TableCell:
    """One cell with value and interval; a dash where there is no score."""
    if score is None:
        return TableCell("–")
    return TableCell(interval(score), score.value, "at chance" if covers_chance(score) else "")
