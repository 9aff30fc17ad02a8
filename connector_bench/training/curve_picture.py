"""One picture of a curve: neighbours kept above, variance rebuilt below, both with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connector_bench.report.chart import Chart
from connector_bench.report.theme import Theme
from connector_bench.training.probe_figures import OF_FIRST

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "os^Dv"


@dataclass(frozen=True)
class TrainingCurve:
    """The lines of a curve."""

    lines: Sequence[dict[str, Any]]

    def chart(self) -> Chart:
        """Ready to be written as PNG or SVG. ValueError where no step was measured."""
        overlaps = [name for name in self._scores if name.startswith("knor_") and "adj" not in name]
        if not overlaps:
            raise ValueError("no step was measured, so there is no curve to draw")
        n = next(line[overlaps[0]]["n"] for line in self.lines if overlaps[0] in line)
        shows = f"{n} pictures; bands are 95 % intervals"
        return Chart("curve", "The connector while it is trained", shows, shows, self._draw, (5.6, 5.2))

    @property
    def _scores(self) -> list[str]:
        return list(
            dict.fromkeys(name for line in self.lines for name in line if isinstance(line[name], dict))
        )

    def _draw(self, figure: Figure, theme: Theme) -> None:
        overlap, rebuilt = figure.subplots(2, sharex=True)
        colours = (theme.model, theme.untrained, theme.random, theme.highlight, theme.oracle)
        names = [name for name in self._scores if name.startswith("knor_") and "adj" not in name]
        for number, name in enumerate(names):
            k = name.removeprefix("knor_").removesuffix(OF_FIRST)
            whom = "the first step" if name.endswith(OF_FIRST) else "the encoder"
            look = {"color": colours[number % len(colours)], "marker": MARKERS[number % len(MARKERS)]}
            self._line(overlap, name, f"{k} nearest kept of {whom}", look)
        self._line(
            rebuilt, "r2_ridge", "linear R² on held-out pictures", {"color": theme.model, "marker": "o"}
        )
        overlap.set(ylabel="neighbours kept", ylim=(-0.02, 1.02))
        rebuilt.set(xlabel="step", ylabel="variance rebuilt")
        for axes in (overlap, rebuilt):
            axes.legend()

    def _line(self, axes: Axes, name: str, label: str, look: dict[str, Any]) -> None:
        known = [
            (line["step"], line[name]) for line in self.lines if line.get(name, {}).get("value") is not None
        ]
        steps = [step for step, _ in known]
        axes.plot(steps, [score["value"] for _, score in known], label=label, markersize=4, **look)
        low, high = ([_or_nan(score[end]) for _, score in known] for end in ("low", "high"))
        axes.fill_between(steps, low, high, color=look["color"], alpha=0.18, linewidth=0)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
