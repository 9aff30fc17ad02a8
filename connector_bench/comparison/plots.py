"""PNG plots of a comparison: differences with their intervals, and curves along training steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from connector_bench.atomic_files import appearing
from connector_bench.comparison.compare import Comparison, MetricDifference
from connector_bench.comparison.steps import Curve
from connector_bench.leaderboard.text import ARROWS, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BETTER, WORSE, NEITHER, UNSURE = "#0072B2", "#D55E00", "#333333", "#8A8A8A"
"""Colours that colour-blind readers tell apart (Okabe and Ito); shape says the same."""

MOST_TICKS = 8


def plot_differences(comparison: Comparison, task: str, path: Path) -> None:
    """One small axis a metric, in its own unit, 0 marked: filled where the difference is more than chance."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    items = [item for item in comparison.differences if item.task == task]
    figure = Figure(figsize=(8, 0.62 * len(items) + 1.1), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(items), 1, squeeze=False)[:, 0]
    for axis, item in zip(rows, items, strict=True):
        _draw_difference(axis, item)
    figure.suptitle(_plain(f"{task}: {comparison.second} less {comparison.first}"), fontsize=10)
    with appearing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def _draw_difference(axis: Axes, item: MetricDifference) -> None:
    change = item.difference
    colour = _colour(item)
    axis.axvline(0, color="#BBBBBB", linewidth=1)
    axis.plot([change.low, change.high], [0, 0], color=colour, linewidth=2)
    axis.plot(
        change.value, 0, "o", color=colour, markerfacecolor=colour if item.differs else "white", markersize=6
    )
    axis.set_yticks([0], [_plain(item.label) + ARROWS[item.higher_is_better]], fontsize=8)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_ylim(-1, 1)
    axis.margins(x=0.15)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _colour(item: MetricDifference) -> str:
    if not item.differs:
        return UNSURE
    if item.higher_is_better is None:
        return NEITHER
    return BETTER if (item.difference.value > 0) == item.higher_is_better else WORSE


def plot_curves(curves: Sequence[Curve], task: str, path: Path) -> None:
    """One panel a metric: its value along the steps, its interval shaded."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    items = [curve for curve in curves if curve.task == task]
    columns = min(3, len(items))
    rows = -(-len(items) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.5 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, curve in zip(panels, items, strict=False):
        steps = [point.step for point in curve.points]
        axis.fill_between(
            steps,
            [point.low for point in curve.points],
            [point.high for point in curve.points],
            color=BETTER,
            alpha=0.2,
            linewidth=0,
        )
        axis.plot(steps, [point.value for point in curve.points], "o-", color=BETTER, markersize=4)
        axis.set_title(_plain(curve.label) + ARROWS[curve.higher_is_better], fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        if len(steps) <= MOST_TICKS:
            axis.set_xticks(steps, [f"{step:g}" for step in steps])
        axis.tick_params(labelsize=7)
    for axis in panels[len(items) :]:
        axis.set_visible(False)
    figure.suptitle(_plain(task), fontsize=10)
    with appearing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def _plain(text: str) -> str:
    """No formula of matplotlib's."""
    return visible(text).replace("$", r"\$")
