"""Which figures of a task can be compared document by document, and what they are made of by image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from connector_bench.comparison.compared_runs import ComparedRow, Documents
from connector_bench.metrics import Metric
from connector_bench.metrics import metric as metric_of
from connector_bench.results.tasks import GROUP_COLUMN
from connector_bench.stats.floors import GROUPS, IMAGES, LEAST_FOR_GEOMETRY, too_few_groups
from connector_bench.stats.paired import ROUNDING, Sums

TOLERANCE = 1e-4
WITHOUT_HALVES = (
    "no interval: images are each other's neighbours, and the two records do not both say by how much halves of them "
    f"differ; those of this version do, from {LEAST_FOR_GEOMETRY} {{unit}} on and where a half holds k"
)
NO_HALF = (
    "no interval: images are each other's neighbours, and no half of the {images:,} images holds k of one"
)
OTHER_HALVES = (
    "no interval: one run halved {first}, the other {second}; measured with the same drawn_together, halves can be "
    "paired"
)


@dataclass(frozen=True, eq=False)
class PairedMetric:
    """One metric on both sides, over the documents and images where both have it."""

    metric: str
    first: Sums
    """By image, or by group of images that were drawn together."""
    second: Sums
    documents: int
    images: int
    higher: int
    """Documents on which the second is higher, and on which it is lower, by more than rounding."""
    lower: int
    higher_is_better: bool | None
    untold: str | None = None
    """Why nobody can tell an interval; None where one can."""
    halvings: tuple[np.ndarray, np.ndarray] | None = None
    k: int | None = None
    """Neighbours that count, where images are each other's."""
    drawn_together: Mapping[str, Any] = field(default_factory=dict)
    """By what images were drawn together, and how many groups they are; empty where each was drawn by itself."""


def paired_metrics(first: Documents, second: Documents) -> Iterator[PairedMetric]:
    """Every metric that is a mean over documents, or the share lost, in the order of the first run's figures.

    A metric counts as a mean over documents when the documents' mean gives the run's own figure on both sides.
    Left out are controls, constants of the whole set, and what another figure says with chance left in.
    """
    for metric in first.figures:
        if metric in second.figures and not (first.ours and _told_already(metric_of(metric))):
            found = _paired(first, second, metric)
            if found is not None:
                yield found


def _told_already(entry: Metric | None) -> bool:
    """Whether it is a control, a count, or another figure with chance taken off."""
    return entry is not None and (
        entry.control is not None or entry.corrects is not None or entry.family == "count"
    )


def _paired(first: Documents, second: Documents, metric: str) -> PairedMetric | None:
    entry = metric_of(metric) if first.ours else None
    parts = (first.columns[metric],) if entry is None or entry.sums is None else entry.sums
    shared = [
        number
        for number, row in first.rows.items()
        if all(part in row.figures and part in second.rows[number].figures for part in parts)
    ]
    if not shared:
        return None
    one, other = ([side.rows[number] for number in shared] for side in (first, second))
    units = _drawn_with(one, other)
    sums = _by_unit(one, parts, units), _by_unit(other, parts, units)
    if any(
        not math.isclose(s.value, side.figures[metric], rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        for s, side in zip(sums, (first, second), strict=True)
    ):
        return None
    values = [np.array([_value(row, parts) for row in rows]) for rows in (one, other)]
    if first.ours and all(np.ptp(side) == 0 for side in values):
        return None
    gaps = tuple(np.asarray(side.halvings(metric)) for side in (first, second))
    drawn = [side.drawn_together for side in (first, second)]
    halved = len(gaps[0]) > 0 and len(gaps[0]) == len(gaps[1])
    same = drawn[0].get("sha256") == drawn[1].get("sha256")
    images, untold = len({row.image for row in one}), None
    if entry is not None and entry.neighbours and not (halved and same):
        one_side, other_side = map(_said_of, drawn)
        if halved:
            untold = OTHER_HALVES.format(first=one_side, second=other_side)
        elif entry.k is not None and entry.k >= images // 2:
            untold = NO_HALF.format(images=images)
        else:
            untold = few_groups(drawn[0], LEAST_FOR_GEOMETRY) or WITHOUT_HALVES.format(
                unit=GROUPS if drawn[0] else IMAGES
            )
    return PairedMetric(
        metric=metric,
        first=sums[0],
        second=sums[1],
        documents=len(shared),
        images=images,
        higher=int((values[1] - values[0] > ROUNDING).sum()),
        lower=int((values[0] - values[1] > ROUNDING).sum()),
        higher_is_better=first.higher_is_better(metric) if entry is None or entry.is_a_mark else None,
        untold=untold,
        halvings=(gaps[0], gaps[1]) if halved and same else None,
        k=None if entry is None else entry.k,
        drawn_together=drawn[0],
    )


def few_groups(drawn: Mapping[str, Any], least: int) -> str | None:
    """Why groups of images are too few for an interval; None where they are not, and of images by themselves."""
    return too_few_groups(drawn["groups"], drawn["most"], drawn["worth"], least) if drawn else None


def _said_of(drawn: Mapping[str, Any]) -> str:
    by = f" by {drawn['by']}" if drawn.get("by") else ""
    return f"{drawn['groups']:,} groups of images{by}" if drawn else "single images"


def _value(row: ComparedRow, parts: tuple[str, ...]) -> float:
    if len(parts) == 1:
        return row.figures[parts[0]]
    numerator, denominator = (row.figures[part] for part in parts)
    return numerator / denominator if denominator else math.nan


def _drawn_with(first: list[ComparedRow], second: list[ComparedRow]) -> list[object]:
    """Of every document, what stays together: the group that its image was drawn with, as either run has it, else its
    image."""
    known = {
        row.image: row.figures[GROUP_COLUMN]
        for rows in (first, second)
        for row in rows
        if GROUP_COLUMN in row.figures
    }
    return [known.get(row.image, row.image) for row in first]


def _by_unit(rows: list[ComparedRow], parts: tuple[str, ...], units: list[object]) -> Sums:
    count, place = np.unique([str(unit) for unit in units], return_inverse=True)
    top = np.bincount(place, [row.figures[parts[0]] for row in rows], minlength=len(count))
    below = [1.0 if len(parts) == 1 else row.figures[parts[1]] for row in rows]
    return Sums(top, np.bincount(place, below, minlength=len(count)))
