"""Charts of patch reconstruction: the probe ladder with its controls, and the learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from connector_bench.report import marks
from connector_bench.report.theme import Theme
from connector_bench.stats.intervals import Score

LOWEST_R2 = -0.35
"""Left end of the ladder's axis: a probe fitted to noise may lie far below, and says no more there."""
MARKERS = "osD^vPX*"
BETWEEN = 0.13
"""Between marks of one probe, as a share of its row."""


@dataclass(frozen=True)
class Series:
    """One connector or control on the ladder."""

    label: str
    colour: str
    """Name of the theme's colour."""
    by_probe: Mapping[str, Score]


@dataclass(frozen=True)
class LadderChart:
    """R2 of every probe, from the simplest on top, for the connector and its controls."""

    probes: Sequence[str]
    series: Sequence[Series]

    @property
    def cut(self) -> bool:
        """Whether a value lies left of the axis."""
        return any(score.value < LOWEST_R2 for one in self.series for score in one.by_probe.values())

    def draw(self, figure: Figure, theme: Theme) -> None:
        """Draw onto an empty figure."""
        axes = figure.subplots()
        places = marks.rows(axes, self.probes)
        heights = [
            {label: place + offset for label, offset in self._offsets(probe).items()}
            for place, probe in zip(places, self.probes, strict=True)
        ]
        for one, marker in zip(self.series, MARKERS, strict=False):
            known = [
                (row[one.label], one.by_probe[probe])
                for row, probe in zip(heights, self.probes, strict=True)
                if probe in one.by_probe
            ]
            look = {"color": getattr(theme, one.colour), "marker": marker, "label": one.label}
            marks.lying(axes, [place for place, _ in known], [score for _, score in known], **look)
        for border in places[1:] - 0.5:
            axes.axhline(border, color=theme.rule, linewidth=0.8)
        axes.axvline(0.0, color=theme.ink, linestyle=(0, (1, 1.5)), label="training mean: nothing rebuilt")
        lowest = min((s.value for one in self.series for s in one.by_probe.values()), default=0.0)
        axes.set_xlim(max(min(lowest, 0.0), LOWEST_R2) - 0.05, 1.05)
        axes.set_xlabel("R² on test images: 1 is rebuilt exactly")
        marks.legend(figure)

    def _offsets(self, probe: str) -> dict[str, float]:
        """How far below its row's name each series is drawn that has this probe; a single one stands beside it."""
        there = [one.label for one in self.series if probe in one.by_probe]
        middle = (len(there) - 1) / 2
        return {label: BETWEEN * (place - middle) for place, label in enumerate(there)}


@dataclass(frozen=True)
class Learning:
    """Validation R2 of each probe over the training images it was given."""

    images: Sequence[float]
    by_probe: Mapping[str, Sequence[float]]
    best: str

    def draw(self, figure: Figure, theme: Theme) -> None:
        """Draw onto an empty figure."""
        axes = figure.subplots()
        colours = (theme.random, theme.untrained, theme.highlight, theme.oracle)
        others = (probe for probe in self.by_probe if probe != self.best)
        look = dict(zip(others, colours, strict=False)) | {self.best: theme.model}
        for (probe, values), marker in zip(self.by_probe.items(), MARKERS, strict=False):
            label = f"{probe} (best)" if probe == self.best else probe
            width = 2.4 if probe == self.best else 1.4
            axes.plot(
                self.images[-len(values) :],
                values,
                color=look[probe],
                marker=marker,
                linewidth=width,
                label=label,
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(self.images), [f"{count:,.0f}" for count in self.images])
        axes.minorticks_off()
        axes.set(xlabel="training images", ylabel="R² on validation images")
        marks.legend(figure)
