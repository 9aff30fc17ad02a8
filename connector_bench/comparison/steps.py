"""Checkpoints of one connector through training: every metric along the steps, each against the first checkpoint."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from connector_bench.comparison.compare import paired, shared_tasks
from connector_bench.comparison.compared_runs import (
    ComparisonSide,
    Documents,
    conditions_apart,
    require_same_documents,
)
from connector_bench.comparison.paired_metrics import PairedMetric, paired_metrics
from connector_bench.metrics import label_of
from connector_bench.results.harness_files import UnusableResult
from connector_bench.stats import jackknife
from connector_bench.stats.bounds import Bound
from connector_bench.stats.paired import (
    LEVEL,
    ROUNDING,
    Difference,
    false_discovery_rate,
)


@dataclass(frozen=True)
class StepPoint:
    """One metric at one checkpoint."""

    step: float
    model: str
    value: float
    low: float
    high: float
    from_first: Difference | None
    """Paired difference to the first checkpoint; None at the first."""
    q: float | None
    """Its p-value, adjusted for all metrics and checkpoints."""
    bound: Bound | None = None
    """What the value is a bound of, where more training images still help the probes."""

    @property
    def differs(self) -> bool:
        """Whether it differs from the first checkpoint by more than chance and rounding."""
        return (
            self.from_first is not None
            and self.q is not None
            and self.q <= LEVEL
            and abs(self.from_first.value) > ROUNDING
        )


@dataclass(frozen=True)
class Curve:
    """One metric of one task along the steps."""

    task: str
    metric: str
    label: str
    higher_is_better: bool | None
    points: tuple[StepPoint, ...]


def steps_of(sides: Sequence[ComparisonSide], given: str | None = None) -> list[float]:
    """The step of each checkpoint: as given (`100,200,400`), else the last number in its name, else 1, 2, 3 ...

    Raises ValueError where the given steps are not as many numbers as there are checkpoints, or do not rise.
    """
    if given:
        try:
            steps = [float(part) for part in given.split(",")]
        except ValueError as error:
            raise ValueError(f"steps are numbers between commas, got {given!r}") from error
        if len(steps) != len(sides) or any(b <= a for a, b in pairwise(steps)):
            raise ValueError(f"{len(sides)} checkpoints need as many rising steps, got {given!r}")
        return steps
    found = [_digits("" if side.chosen else side.path.stem) or _digits(side.model) for side in sides]
    numbers = [float(digits[-1]) for digits in found if digits]
    if len(numbers) == len(sides) and all(b > a for a, b in pairwise(numbers)):
        return numbers
    return [float(place) for place in range(1, len(sides) + 1)]


def _digits(name: str) -> list[str]:
    """Numbers in a name, without the beginning of a file's hash that may end it."""
    return re.findall(r"\d+", re.sub(r" \([0-9a-f]{8}\)$", "", name))


def curves(sides: Sequence[ComparisonSide], steps: Sequence[float], tasks: Sequence[str] = ()) -> list[Curve]:
    """Every metric that all checkpoints have. Raises UnusableResult as `compare`."""
    found: list[Curve] = []
    for task in shared_tasks(sides, tasks):
        documents = [side.documents(task) for side in sides]
        for other in documents[1:]:
            require_same_documents(documents[0], other, task)
            if why := conditions_apart(documents[0], other, task):
                raise UnusableResult(why)
        found += _task_curves(task, documents, steps)
    if not found:
        raise UnusableResult("no metric is given document by document at every checkpoint")
    return _adjusted(found)


def _task_curves(task: str, documents: Sequence[Documents], steps: Sequence[float]) -> list[Curve]:
    first, *later = documents
    pairs = [{metric.metric: metric for metric in paired_metrics(first, other)} for other in later]
    return [
        Curve(
            task=task,
            metric=metric,
            label=label_of(metric) if first.ours else metric,
            higher_is_better=pairs[0][metric].higher_is_better,
            points=_points([found[metric] for found in pairs], documents, steps),
        )
        for metric in pairs[0]
        if all(metric in found for found in pairs)
        and any(found[metric].higher or found[metric].lower for found in pairs)
    ]


def _points(
    pairs: Sequence[PairedMetric], documents: Sequence[Documents], steps: Sequence[float]
) -> tuple[StepPoint, ...]:
    figures = [pairs[0].first, *(pair.second for pair in pairs)]
    differences = [None, *(paired(pair) for pair in pairs)]
    points = []
    for step, side, sums, change in zip(steps, documents, figures, differences, strict=True):
        own = jackknife.ratio(np.asarray(sums.numerator), np.asarray(sums.denominator))
        low, high = side.interval(pairs[0].metric) or (own.low, own.high)
        bound = side.of.bound(pairs[0].metric)
        points.append(StepPoint(step, side.model, sums.value, low, high, change, None, bound))
    return tuple(points)


def _adjusted(found: Sequence[Curve]) -> list[Curve]:
    p = [point.from_first.p for curve in found for point in curve.points if point.from_first]
    q = iter(false_discovery_rate(p))
    return [
        replace(
            curve,
            points=tuple(replace(point, q=next(q) if point.from_first else None) for point in curve.points),
        )
        for curve in found
    ]
