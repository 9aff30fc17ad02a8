"""What an intervention costs: each run less the untouched one on the same documents, and orders against each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from connector_bench.comparison.compare import paired
from connector_bench.comparison.compared_runs import Documents, require_same_documents, side_of
from connector_bench.comparison.paired_metrics import paired_metrics
from connector_bench.intervention_curves.points import AskedPoint
from connector_bench.interventions.intervention import Intervention, Mask
from connector_bench.results.harness_files import UnusableResult
from connector_bench.stats.paired import LEVEL, ROUNDING, Difference, false_discovery_rate
from connector_bench.sweep.execute import RunOutcome

AT_RANDOM = "random"


@dataclass(frozen=True)
class PointDifference:
    """One figure of one run less that of another on the same documents."""

    model: str
    intervention: Intervention
    metric: str
    value: float
    """Of the run itself."""
    other: float
    """Of the untouched run, or of the one that is masked at random."""
    difference: Difference
    q: float
    """Adjusted for all that were tested beside it (Benjamini and Hochberg)."""
    documents: int
    images: int
    changed: float | None
    """Share of the tokens that were given another value."""

    @property
    def differs(self) -> bool:
        """Whether it is more than chance, at 5 % false discoveries among all that were tested."""
        return self.q <= LEVEL

    def as_record(self) -> dict[str, Any]:
        """Ready for JSON."""
        change = self.difference
        return {
            "model": self.model,
            **self.intervention.as_record(),
            "said": self.intervention.said,
            "metric": self.metric,
            "value": self.value,
            "other": self.other,
            "difference": change.value,
            **{key: _number(getattr(change, key)) for key in ("low", "high", "p")},
            "q": _number(self.q),
            "documents": self.documents,
            "images": self.images,
            "changed": self.changed,
        }


@dataclass(frozen=True)
class PairedCurves:
    """All that was run, paired."""

    task: str
    untouched: dict[str, dict[str, float]]
    """Figures of the untouched run by model and metric."""
    against_untouched: tuple[PointDifference, ...]
    against_random: tuple[PointDifference, ...]
    """Masks by loss less those of the same share at random, model by model."""


def paired_curves(
    points: Sequence[AskedPoint], outcomes: Sequence[RunOutcome], task: str, metrics: Sequence[str] = ()
) -> PairedCurves:
    """Differences of every run that has results.

    Parameters
    ----------
    metrics : the figures that are paired; the task's first where none is named

    Raises
    ------
    UnusableResult
        A model has no untouched run, a figure is given document by document by none, or documents differ.
    """
    sides = {id(one.run): side_of(one.folder) for one in outcomes if one.failed is None}
    there = {point: sides[id(point.run)].documents(point.task) for point in points if id(point.run) in sides}
    untouched = {point.model: documents for point, documents in there.items() if point.intervention is None}
    costs: list[PointDifference] = []
    orders: list[PointDifference] = []
    for point in points:
        if point.intervention is None or point not in there:
            continue
        if point.model not in untouched:
            raise UnusableResult(
                f"{point.model}: the untouched run failed, so that nothing can be paired with it"
            )
        own = there[point]
        chosen = list(metrics) or _first_metric(untouched[point.model], own)
        costs += _differences(point, own, untouched[point.model], chosen)
        at_random = next((one for one in points if _same_at_random(point, one)), None)
        if at_random is not None and at_random in there:
            orders += _differences(point, own, there[at_random], chosen)
    if not costs:
        raise UnusableResult("no intervention has results that can be paired with the untouched run")
    figures = {model: dict(documents.figures) for model, documents in untouched.items()}
    return PairedCurves(task, figures, _adjusted(costs), _adjusted(orders))


def _same_at_random(point: AskedPoint, other: AskedPoint) -> bool:
    """Whether the other masks the same share of the same model's tokens at random, and this one by loss."""
    one, two = point.intervention, other.intervention
    if not isinstance(one, Mask) or not isinstance(two, Mask) or point.model != other.model:
        return False
    return (
        one.order != AT_RANDOM and two.order == AT_RANDOM and one.share == two.share and one.seed == two.seed
    )


def _first_metric(untouched: Documents, own: Documents) -> list[str]:
    first = next((metric.metric for metric in paired_metrics(untouched, own)), None)
    return [] if first is None else [first]


def _differences(
    point: AskedPoint, own: Documents, other: Documents, metrics: Sequence[str]
) -> list[PointDifference]:
    assert point.intervention is not None
    require_same_documents(other, own, own.of.name)
    found = {metric.metric: metric for metric in paired_metrics(other, own)}
    if missing := [name for name in metrics if name not in found]:
        raise UnusableResult(
            f"{own.of.file.path}: {missing[0]} is not given by document; there are {', '.join(found) or 'none'}"
        )
    changed = own.of.file.interventions.get(own.of.name, {}).get("changed")
    return [
        PointDifference(
            point.model,
            point.intervention,
            name,
            found[name].second.value,
            found[name].first.value,
            _difference(found[name]),
            math.nan,
            found[name].documents,
            found[name].images,
            changed,
        )
        for name in metrics
    ]


def _difference(metric: Any) -> Difference:
    """Paired; no test where not one document differs."""
    change = paired(metric)
    return change if abs(change.value) > ROUNDING or metric.higher else replace(change, p=1.0)


def _adjusted(found: Sequence[PointDifference]) -> tuple[PointDifference, ...]:
    adjusted = false_discovery_rate([one.difference.p for one in found])
    return tuple(replace(one, q=q) for one, q in zip(found, adjusted, strict=True))


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
