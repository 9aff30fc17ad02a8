"""What a report is made of, before any HTML: sections of prose, charts, tables and picture galleries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from connector_bench.report.chart import Chart
from connector_bench.report.estimates import NO_INTERVAL, covers_chance, has_interval, number
from connector_bench.report.gallery_values import Gallery
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
    folded: bool = False
    """Shown when asked for: many rows, of which charts show what matters."""


Block = Prose | Chart | ReportTable | Facts | Gallery


@dataclass(frozen=True)
class Section:
    """One heading with what follows it; `name` is its anchor, `label` its short name in the list of sections."""

    name: str
    label: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class KeyFigure:
    """One number at the top of the page, with what it is to be read beside."""

    about: str
    value: str
    beside: tuple[str, ...]
    """Interval, N, chance, a control: a line each."""


@dataclass(frozen=True)
class Finding:
    """One line of the summary: a figure in a few words, then what it means."""

    about: str
    text: str
    tone: Tone = "plain"


def control_findings(about: str, right: Sequence[str], wrong: Sequence[str]) -> list[Finding]:
    """How the controls came out; one that is not as it must be puts every other figure in doubt."""
    found = []
    if wrong:
        text = f"Not as they must be: {'; '.join(wrong)}. Read every other figure with that in mind."
        found.append(Finding(about, text, "warning"))
    if right:
        found.append(Finding(about, f"As they must be: {'; '.join(right)}."))
    return found


SCORE_COLUMNS = ("value", "95 % interval", "chance", "N")


def score_cells(score: Score) -> tuple[TableCell, ...]:
    """The cells under `SCORE_COLUMNS`; a figure that chance would give as well is marked."""
    mark = "not distinguishable from chance" if covers_chance(score) else ""
    ends = f"{number(score.low)} to {number(score.high)}" if has_interval(score) else NO_INTERVAL
    width = score.high - score.low if has_interval(score) else None
    return (
        TableCell(score.sign + number(score.value), score.value, mark),
        TableCell(ends, width),
        TableCell(number(score.chance), score.chance),
        TableCell(f"{score.n:,}", score.n),
    )
