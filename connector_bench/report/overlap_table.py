"""The table of overlaps: one row the connector and each control, one column a k."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from connector_bench.metrics import CONTROLS, HEADLINE_K
from connector_bench.number_style import number
from connector_bench.report.blocks import ReportTable, TableCell, cell_of
from connector_bench.report.shared import SharedLabel
from connector_bench.stats.intervals import Score

ADJUSTED = "knor_adj_"


Value = TypeVar("Value")


def overlaps(scores: Mapping[str, Value], prefix: str = "knor_") -> dict[int, Value]:
    """What is named `<prefix><k>`, by k."""
    found = {}
    for name, score in scores.items():
        if match := re.fullmatch(rf"{re.escape(prefix)}(\d+)", name):
            found[int(match[1])] = score
    return dict(sorted(found.items()))


def headline_k(kept: Mapping[int, object]) -> int:
    """The k that stands for all: 10, else the largest measured."""
    return 10 if 10 in kept else max(kept)


def overlap_table(
    name: str,
    scores: Mapping[str, Score],
    beside_controls: Mapping[str, Score],
    shared: Sequence[SharedLabel] = (),
) -> ReportTable:
    """Overlap of connector and controls at every measured k, with intervals; chance in a row of its own.

    `beside_controls` are the scores among the images that controls were measured on; `shared` is what the nearest have
    in common, in the column of as many neighbours.
    """
    kept, among = overlaps(scores), overlaps(beside_controls)
    series = {"this connector": kept, "this connector, chance taken off": overlaps(scores, ADJUSTED)}
    first, part = next(iter(kept.values())), next(iter(among.values()))
    controls_on = ""
    if part.n != first.n:
        controls_on = (
            f" Controls are measured among {part.n:,} of them, and so is the connector in a row of its own."
        )
        series[f"this connector, among {part.n:,} images"] = {
            k: among[k] for k in kept if among[k].n == part.n
        }
    series |= {c.label: overlaps(scores, f"{c.key}_knor_") for c in CONTROLS}
    rows = [
        (TableCell(label), *(cell_of(found.get(k)) for k in kept)) for label, found in series.items() if found
    ]
    for one in shared if HEADLINE_K in kept else ():
        for side, score in (("before", one.before), ("after", one.after)):
            cells = (cell_of(score if k == HEADLINE_K else None) for k in kept)
            rows.append((TableCell(f"nearest with the same {one.column}, {side} the connector"), *cells))
    rows.append(
        (
            TableCell("chance of an overlap" if shared else "chance"),
            *(TableCell(number(score.chance), score.chance) for score in kept.values()),
        )
    )
    return ReportTable(
        name=name,
        title="Overlap and its controls",
        shows=(
            f"With 95 % intervals, N = {first.n:,} images. With chance taken off: (overlap − c) / (1 − c), where "
            f"c = k / (N − 1); 0 is chance, 1 is all.{controls_on}"
        ),
        columns=("what", *(f"k = {k}" for k in kept)),
        rows=tuple(rows),
    )
