"""Loss against score across connectors as one figure: a point a connector, with the spread of its seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from connector_bench.association.prediction_picture import draw_prediction, write_names
from connector_bench.association.prediction_values import FixedPrediction, FixedTarget
from connector_bench.association.values import AcrossConnectors, Point
from connector_bench.headlines import WHOLE_LOSSES
from connector_bench.metrics import metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = WHOLE_LOSSES
SCORE = "accuracy"
STYLES = {"trained": ("o", "C0"), "isometry": ("s", "C2"), "untrained": ("^", "C1")}


def picture(across: Sequence[AcrossConnectors], fixed: FixedPrediction | None = None) -> bytes:
    """A PNG with a row a scored task and a column a loss of a connector task; below, predicted against true scores.

    Raises ValueError where nothing that it shows was measured.

    Shown are the losses `1 - knor_10` and `lost` beside `accuracy`, or whatever the first pair is where a run has
    none of these. Where some tasks have enough connectors for a correlation, those that have not are left out.
    """
    import matplotlib.pyplot as plt

    chosen = [found for found in across if found.loss in SHOWN and found.score == SCORE] or list(across[:1])
    if not chosen:
        raise ValueError("no loss and score of at least two connectors on one data set: nothing to draw")
    chosen = [found for found in chosen if any(found.correlations.values())] or chosen
    rows = [_ordered(found for found in chosen if found.score_task == task) for task in _tasks(chosen)]
    targets = [] if fixed is None else fixed.targets
    with plt.rc_context({"text.parse_math": False}):  # names come from files, and hold no formulas
        return _png(rows, targets)


def _png(rows: Sequence[Sequence[AcrossConnectors]], targets: Sequence[FixedTarget]) -> bytes:
    import matplotlib.pyplot as plt

    width = max(map(len, [*rows, targets]))
    height = len(rows) + bool(targets)
    figure, grid = plt.subplots(
        height, width, figsize=(6.4 * width, 4.8 * height), squeeze=False, layout="constrained"
    )
    for axes, row in zip(grid, rows, strict=False):
        for cell, found in zip_longest(axes, row):
            cell.set_visible(found is not None)
            if found is not None:
                _draw(cell, found)
    for cell, target in zip_longest(grid[-1] if targets else (), targets):
        cell.set_visible(target is not None)
        if target is not None:
            draw_prediction(cell, target)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()


def _tasks(chosen: Sequence[AcrossConnectors]) -> list[str]:
    return list(dict.fromkeys(found.score_task for found in chosen))


def _ordered(row: Iterable[AcrossConnectors]) -> list[AcrossConnectors]:
    """One scored task's losses, and of each loss a task before its variants, which have longer names."""
    rank = {loss: place for place, loss in enumerate(SHOWN)}
    return sorted(row, key=lambda found: (rank.get(found.loss, len(rank)), len(found.connector_task)))


def _draw(axes: Axes, found: AcrossConnectors) -> None:
    for group, (marker, colour) in STYLES.items():
        points = [point for point in found.points if point.group == group]
        if points:
            axes.errorbar(
                [point.loss for point in points],
                [point.score for point in points],
                xerr=_spread(points, "loss"),
                yerr=_spread(points, "score"),
                fmt=marker,
                color=colour,
                elinewidth=1,
                label=group,
            )
    axes.set_xlabel(f"{_label(found.loss)}\n{found.connector_task}")
    axes.set_ylabel(f"{found.score} on {found.score_task}")
    axes.set_title(_title(found), fontsize="small")
    axes.legend(fontsize="small", loc="best")
    axes.margins(x=0.14, y=0.08)
    write_names(
        axes,
        [(p.loss, p.score, p.connector.removeprefix("untrained_"), STYLES[p.group][1]) for p in found.points],
    )


def _spread(points: Sequence[Point], side: str) -> np.ndarray:
    """From the mean down to the least and up to the greatest seed."""
    seeds = [[getattr(seed, side) for seed in point.seeds] for point in points]
    means = [getattr(point, side) for point in points]
    return np.array(
        [[mean - min(held), max(held) - mean] for mean, held in zip(means, seeds, strict=True)]
    ).T.clip(min=0)


def _label(loss: str) -> str:
    entry = metric(loss.removeprefix("1 - "))
    return loss if entry is None or entry.loss_label is None else f"{entry.loss_label} ({loss})"


def _title(found: AcrossConnectors) -> str:
    lines = []
    for name, correlation in found.correlations.items():
        if correlation is None:
            lines.append(f"{name}: {found.refusals[name]}")
        elif correlation.p is None:
            lines.append(f"{name}: Spearman {correlation.score.value:.2f}, {correlation.score.method}")
        else:
            score = correlation.score
            tail = "" if correlation.significant else ", not significant"
            lines.append(
                f"{name} ({score.n} connectors): Spearman {score.value:.2f} "
                f"[{score.low:.2f}, {score.high:.2f}], q = {correlation.q:.2g}{tail}"
            )
    return "\n".join(lines)
