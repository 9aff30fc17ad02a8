"""Two models on the same documents, metric by metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from connector_bench.comparison.compared_runs import (
    ComparisonSide,
    Documents,
    conditions_apart,
    failed_on,
    require_same_documents,
)
from connector_bench.comparison.paired_metrics import PairedMetric, few_groups, paired_metrics
from connector_bench.metrics import label_of
from connector_bench.results.harness_files import UnusableResult
from connector_bench.stats.bounds import Bound
from connector_bench.stats.floors import (
    GROUPS,
    IMAGES,
    LEAST_IMAGES,
    LEAST_IN_A_GALLERY,
    LEAST_OUTCOMES,
    too_few,
)
from connector_bench.stats.paired import (
    LEVEL,
    ROUNDING,
    Difference,
    difference,
    false_discovery_rate,
    halved_difference,
    untold,
)


@dataclass(frozen=True)
class MetricDifference:
    """One metric of one task: both figures, and their paired difference."""

    task: str
    metric: str
    label: str
    first: float
    second: float
    difference: Difference
    q: float
    """p-value adjusted for the number of metrics compared (Benjamini and Hochberg)."""
    documents: int
    images: int
    higher: int
    lower: int
    higher_is_better: bool | None
    bounds: tuple[Bound | None, Bound | None]
    """What the two figures are bounds of, where a larger budget of the probes would move them."""
    ours: bool
    """Whether it is a figure of a connector, which the catalogue of metrics knows."""

    @property
    def differs(self) -> bool:
        """Whether the difference is more than chance, at 5 % false discoveries among all metrics compared."""
        return self.q <= LEVEL and abs(self.difference.value) > ROUNDING


@dataclass(frozen=True)
class Comparison:
    """Everything that two models can be compared on."""

    first: str
    second: str
    differences: tuple[MetricDifference, ...]
    identical: tuple[str, ...]
    """Metrics that are the same on every document, as `task: label`: nothing to test."""
    prompts_differ: tuple[str, ...]
    """Tasks for which the two wrappers wrote other prompts around the same questions."""
    not_comparable: tuple[str, ...]
    """Tasks that failed on one side or were measured in two ways, as sentences."""
    intervened: tuple[str, ...] = ()
    """Answers that are not a model's own, since its connector's tokens were changed, as sentences."""


def compare(first: ComparisonSide, second: ComparisonSide, tasks: Sequence[str] = ()) -> Comparison:
    """Every metric of the named tasks, or of all tasks that both have, on the same documents.

    A task that failed on one side, or was measured in two ways, is left out with its reason. Raises UnusableResult
    where a task is missing, the documents are not the same, or nothing can be compared.
    """
    shared = shared_tasks([first, second], tasks)
    found: list[MetricDifference] = []
    identical, other_prompts, apart = [], [], []
    for task in shared:
        if (failed := failed_on([first, second], task)) and not tasks:
            apart.append(failed)
            continue
        one, other = first.documents(task), second.documents(task)
        require_same_documents(one, other, task)
        if why := conditions_apart(one, other, task):
            apart.append(why)
            continue
        if any(row.prompt != other.rows[number].prompt for number, row in one.rows.items()):
            other_prompts.append(task)
        for metric in paired_metrics(one, other):
            if metric.higher or metric.lower:
                found.append(_difference(task, metric, one, other))
            else:
                identical.append(f"{task}: {_label(metric, one.ours)}")
    if apart and not found and not identical:
        raise UnusableResult("; ".join(apart))
    if not found and not identical:
        raise UnusableResult(
            f"{first.path} and {second.path}: no metric of {', '.join(shared)} is given document by document"
        )
    adjusted = false_discovery_rate([item.difference.p for item in found])
    found = [replace(item, q=q) for item, q in zip(found, adjusted, strict=True)]
    return Comparison(
        first.model,
        second.model,
        tuple(found),
        tuple(identical),
        tuple(other_prompts),
        tuple(apart),
        tuple(said for side in (first, second) for said in _intervened(side, shared)),
    )


def _intervened(side: ComparisonSide, tasks: Sequence[str]) -> Iterator[str]:
    for task in tasks:
        done = side.tasks[task].file.interventions.get(task)
        if done is not None:
            yield (
                f"{side.model}: the connector's tokens were changed while it answered {task} ({done['said']}), so the "
                "answers are not the model's own"
            )


def shared_tasks(sides: Sequence[ComparisonSide], tasks: Sequence[str]) -> list[str]:
    """The named tasks, or all that every side has. Raises UnusableResult where a side lacks one, or none is left."""
    for side in sides:
        if missing := [task for task in tasks if task not in side.tasks]:
            raise UnusableResult(f"{side.path}: has no {', '.join(missing)}; it has {', '.join(side.tasks)}")
    shared = list(tasks) or [task for task in sides[0].tasks if all(task in side.tasks for side in sides)]
    if not shared:
        raise UnusableResult(
            "no task was run on all sides: " + "; ".join(f"{s.path} has {', '.join(s.tasks)}" for s in sides)
        )
    return shared


def _difference(task: str, metric: PairedMetric, one: Documents, other: Documents) -> MetricDifference:
    return MetricDifference(
        task=task,
        metric=metric.metric,
        label=_label(metric, one.ours),
        first=metric.first.value,
        second=metric.second.value,
        difference=paired(metric),
        q=float("nan"),
        documents=metric.documents,
        images=metric.images,
        higher=metric.higher,
        lower=metric.lower,
        higher_is_better=metric.higher_is_better,
        bounds=(one.of.bound(metric.metric), other.of.bound(metric.metric)),
        ours=one.ours,
    )


def _label(metric: PairedMetric, ours: bool) -> str:
    return label_of(metric.metric) if ours else metric.metric


def paired(metric: PairedMetric) -> Difference:
    """The paired difference by the procedure that fits the metric."""
    first, second = metric.first.value, metric.second.value
    if metric.halvings is not None:
        if (apart := metric.higher + metric.lower) < LEAST_OUTCOMES:
            return untold(first, second, too_few(apart, LEAST_OUTCOMES, "images on which the two differ"))
        drawn, worth = metric.drawn_together, None
        if drawn:
            worth = int(drawn["worth"])
            if why := few_groups(drawn, LEAST_IN_A_GALLERY):
                return untold(first, second, why)
        return halved_difference(
            first, second, *metric.halvings, images=metric.images, k=metric.k, groups=worth
        )
    if metric.untold is not None:
        return untold(first, second, metric.untold)
    unit = IMAGES if not metric.drawn_together else GROUPS
    if (count := len(metric.first.numerator)) < LEAST_IMAGES:
        return untold(first, second, too_few(count, LEAST_IMAGES, unit))
    return difference(metric.first, metric.second, unit=unit)
