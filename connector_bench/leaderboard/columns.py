"""Which columns a table has, in which order, under which name, and which of them people compare models by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from connector_bench.leaderboard.schema import Comparable, Figure, Measure, TaskResult
from connector_bench.leaderboard.table import Column, Topic
from connector_bench.results.conditions import differing

RANKED: dict[Measure, str] = {"knn_preservation": "knor_adj_10", "patch_reconstruction": "lost"}
"""The metric of each measure that competitors are ranked by, on every data set of its own."""

CONTROL = re.compile(r"(identity|rotation|random_linear|rank\d+|untrained|shuffled)_.+")
"""A control's figure: the control's name in front of the metric's."""

TOPICS: dict[Measure | None, Topic] = {
    "knn_preservation": "k-NN preservation",
    "patch_reconstruction": "Patch reconstruction",
    None: "Task performance",
}
LABELS = {
    "lost": "lost",
    "r2_best": "R² of the best probe",
    "r2_ridge": "R² linear",
    "r2_mlp": "R² MLP",
    "r2_pooled": "R² linear from the mean token",
    "r2_attention": "R² attention",
    "nonlinear": "kept but not linear",
    "nmse": "error of a patch",
    "cosine": "cosine",
    "loss_inside": "error inside the answer",
    "loss_outside": "error outside it",
    "cka": "CKA",
    "procrustes": "Procrustes",
    "trustworthiness": "trustworthiness",
    "continuity": "continuity",
    "imbalance_pre_post": "imbalance, before to after",
    "imbalance_post_pre": "imbalance, after to before",
    "map_pre": "mAP before",
    "map_post": "mAP after",
}
PATTERNS = (
    (r"knor_adj_(\d+)", "kept beyond chance, k = {}"),
    (r"knor_(\d+)", "kept, k = {}"),
    (r"paper_knor_(\d+)", "published procedure, k = {}"),
    (r"recall_pre_(\d+)", "recall at {} before"),
    (r"recall_post_(\d+)", "recall at {} after"),
)
HEADLINES: dict[Measure, tuple[str, ...]] = {
    "knn_preservation": (
        *("knor_adj_10", "knor_10", "knor_adj_50", "knor_adj_100", "untrained_knor_10"),
        *("random_linear_knor_10", "cka", "recall_pre_5", "recall_post_5", "paper_knor_10"),
    ),
    "patch_reconstruction": (
        *("lost", "r2_best", "r2_ridge", "nonlinear", "r2_pooled", "cosine", "loss_inside", "loss_outside"),
        *("untrained_r2_ridge", "untrained_r2_pooled"),
    ),
}
COUNTS = ("n_images",)
"""Reported beside figures by our tasks; they stand in `Comparable`."""


def columns_of(results: Iterable[Mapping[str, TaskResult]]) -> tuple[Column, ...]:
    """Every column that any model has a figure in: connector tasks first, headlines before the rest."""
    found: dict[tuple[str, str], Column] = {}
    for tasks in results:
        for task, result in tasks.items():
            for metric, figure in result.figures.items():
                if metric not in COUNTS:
                    found.setdefault((task, metric), _column(task, metric, result, figure))
    return tuple(sorted(found.values(), key=_place))


def label_of(metric: str) -> str:
    """What a reader is shown for a metric."""
    control = control_of(metric)
    if control is not None:
        return f"{control.replace('_', ' ')}: {label_of(metric.removeprefix(f'{control}_'))}"
    for pattern, label in PATTERNS:
        if match := re.fullmatch(pattern, metric):
            return label.format(*match.groups())
    return LABELS.get(metric, metric)


def control_of(metric: str) -> str | None:
    """The control whose figure a metric is, None where it is the model's own."""
    found = CONTROL.fullmatch(metric)
    return found[1] if found else None


def _column(task: str, metric: str, result: TaskResult, figure: Figure) -> Column:
    measure = result.measure
    return Column(
        task=task,
        metric=metric,
        topic=TOPICS[measure],
        label=metric if measure is None else label_of(metric),
        comparable=result.comparable,
        measure=measure,
        chance=figure.chance,
        higher_is_better=figure.higher_is_better,
        k=figure.k,
        headline=measure is None or metric in HEADLINES[measure],
        ranked=measure is not None and metric == RANKED[measure],
        control=None if measure is None else control_of(metric),
    )


def _place(column: Column) -> tuple[int, str, int]:
    if column.measure is None:
        return len(TOPICS), column.task, 0
    headlines = HEADLINES[column.measure]
    rank = headlines.index(column.metric) if column.metric in headlines else len(headlines)
    return list(TOPICS).index(column.measure), column.task, rank


def same_conditions(first: Comparable, second: Comparable) -> dict[str, tuple[object, object]]:
    """What keeps two results of one task apart, by field; what one of them did not record keeps nothing apart."""
    return differing(dict(first), dict(second))
