"""Charts of loss beside task performance: correlations, prediction of failure, calibration, inside and outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from connector_bench.association.values import CalibrationBin, Tested
from connector_bench.report import marks
from connector_bench.report.theme import Theme

FADED = 0.45
POINTS_AT_MOST = 4000


@dataclass(frozen=True)
class ForestRow:
    """One figure of a forest chart; a group has its own marker and colour."""

    label: str
    group: str
    tested: Tested


@dataclass(frozen=True)
class Forest:
    """Figures with intervals, one a row: filled where significant, hollow and pale where not."""

    rows: Sequence[ForestRow]
    without: float
    """The value without any association, drawn as a line."""
    line: str
    label: str

    def draw(self, figure: Figure, theme: Theme) -> None:
        """Draw onto an empty figure."""
        axes = figure.subplots()
        labels = list(dict.fromkeys(row.label for row in self.rows))
        groups = list(dict.fromkeys(row.group for row in self.rows))
        places = dict(zip(labels, marks.rows(axes, labels), strict=True))
        twice = len(self.rows) > len(labels)
        offsets = np.linspace(-0.18, 0.18, len(groups)) if twice else np.zeros(len(groups))
        colours = (theme.model, theme.untrained, theme.random, theme.highlight)
        for group, offset, colour, marker in zip(groups, offsets, colours, "osD^", strict=False):
            axes.plot([], [], color=colour, marker=marker, linestyle="none", label=group)
            for row in self.rows:
                if row.group == group:
                    _mark(axes, row.tested, places[row.label] + float(offset), colour, marker, theme)
        axes.axvline(self.without, color=theme.ink, linestyle=(0, (1, 1.5)), label=self.line)
        axes.plot(
            [],
            [],
            color=theme.muted,
            marker="o",
            linestyle="none",
            markerfacecolor=theme.paper,
            label="hollow: not significant",
        )
        axes.set_xlabel(self.label)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        marks.legend(figure)


def _mark(axes: Axes, tested: Tested, place: float, colour: str, marker: str, theme: Theme) -> None:
    if tested.significant:
        marks.lying(axes, [place], [tested.score], color=colour, marker=marker)
    else:
        pale = {"alpha": FADED, "markerfacecolor": theme.paper, "markeredgecolor": colour}
        marks.lying(axes, [place], [tested.score], color=colour, marker=marker, **pale)


@dataclass(frozen=True)
class Calibration:
    """How often the model fails among documents of similar loss."""

    panels: Sequence[tuple[str, Sequence[CalibrationBin]]]
    overall: float
    """Share of failures among all documents."""

    def draw(self, figure: Figure, theme: Theme) -> None:
        """Draw onto an empty figure."""
        many = figure.subplots(1, len(self.panels), squeeze=False, sharey=True)[0]
        for axes, (name, bins) in zip(many, self.panels, strict=True):
            losses = [one.mean_loss for one in bins]
            marks.upright(
                axes,
                losses,
                [one.failure_rate for one in bins],
                color=theme.model,
                marker="o",
                label="documents of similar loss",
            )
            axes.axhline(self.overall, color=theme.ink, linestyle=(0, (1, 1.5)), label="all documents")
            axes.set_xlabel(name)
        many[0].set_ylabel("failures")
        many[0].set_ylim(bottom=0)
        marks.legend(figure)


@dataclass(frozen=True)
class Scatter:
    """A graded score over the loss, a point a document."""

    loss: Float[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]
    loss_name: str
    score_name: str

    def draw(self, figure: Figure, theme: Theme) -> None:
        """Draw onto an empty figure; of many documents an evenly spaced part."""
        axes = figure.subplots()
        known = np.isfinite(self.loss) & np.isfinite(self.score)
        x, y = self.loss[known], self.score[known]
        step = max(1, len(x) // POINTS_AT_MOST)
        axes.scatter(x[::step], y[::step], s=9, alpha=0.4, color=theme.model, linewidths=0, rasterized=True)
        axes.set(xlabel=self.loss_name, ylabel=self.score_name)
