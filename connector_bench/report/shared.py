"""What neighbours share, as the report tells it: labels and captions, or that nothing is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from connector_bench.metrics import HEADLINE_K, by_column
from connector_bench.number_style import number
from connector_bench.report.estimates import covers_chance, interval
from connector_bench.results.tasks import TaskRun
from connector_bench.stats.intervals import Score


@dataclass(frozen=True)
class SharedLabel:
    """One column of labels: how many of an image's nearest have its own."""

    column: str
    before: Score
    after: Score
    most: float | None
    """The largest share that the sizes of the classes allow."""


def shared_labels(task: TaskRun) -> tuple[SharedLabel, ...]:
    """The columns whose sharing the record holds, the first one first."""
    return tuple(_shared_labels(task))


def _shared_labels(task: TaskRun) -> Iterator[SharedLabel]:
    columns = task.record.get("labels") or {}
    for number_of, (column, noted) in enumerate(columns.items()):
        before, after = (
            task.scores.get(by_column(f"purity_{side}", column if number_of else None))
            for side in ("pre", "post")
        )
        if before is not None and after is not None:
            yield SharedLabel(column, before, after, noted.get("most"))


def label_column(task: TaskRun) -> str:
    """What the record calls the labels that figures without another name are of."""
    return str(next(iter(task.record.get("labels") or {}), "label"))


def shared_sentence(task: TaskRun) -> str:
    """What is known of it, in plain words."""
    said = [_of_label(one) for one in shared_labels(task)]
    if said:
        said[0] = f"Of an image's {HEADLINE_K} nearest neighbours {said[0]}"
    text = f"{'; '.join(said)}." if said else ""
    if captions := _of_captions(task):
        return f"{text} {captions}".strip()
    if text:
        return text
    if "recall_pre_1" in task.scores:
        return (
            "The images have labels, but the record does not say how many neighbours share them: it is of an older "
            f"version, or of fewer than {HEADLINE_K + 2} images."
        )
    return (
        "Nothing is known of what neighbours share: the task names no column of labels or captions for these images, "
        "so an overlap may be one of content or of background alike."
    )


def _of_label(one: SharedLabel) -> str:
    chance = number(one.before.chance or 0.0)
    most = "" if one.most is None or one.most > 0.995 else f", at most {number(one.most)} possible"
    verdict = ", not distinguishable from chance" if covers_chance(one.before) else ""
    return (
        f"{interval(one.before)} have its {one.column} before the connector and {interval(one.after)} "
        f"after it (chance {chance}{most}{verdict})"
    )


def _of_captions(task: TaskRun) -> str:
    before, after = (task.scores.get(f"caption_{side}") for side in ("pre", "post"))
    if before is None or after is None:
        return ""
    return (
        f"Captions of an image and of its {HEADLINE_K} nearest are {interval(before)} alike before the connector and "
        f"{interval(after)} after it, where 1 is the same words and two images at random have {number(before.chance)}."
    )
