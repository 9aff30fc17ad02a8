"""Charts of neighbour preservation: overlap over k, its spread over images, retrieval before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from connector_bench.metrics import CONTROLS
from connector_bench.report import marks
from connector_bench.report.theme import Theme
from connector_bench.stats.intervals import Score

MARKERS = "^vDosx"
LINES = {"oracle": ":", "random": "--", "untrained": "-."}


@dataclass(frozen=True)
class KCurve:
    """Overlap over k: the connector at every k, everything with an interval at the measured k."""

    every_k: Sequence[float]
    """Overlap at k = 1, 2, ...; empty where the run did not record it."""
    connector: Mapping[int, Score]
    controls: Mapping[str, Mapping[int, Score]]
    n: int

    def draw(self, figure: Figure, theme: Theme) -> None:
        """Draw onto an empty figure."""
        axes = figure.subplots()
        for marker, control in zip(MARKERS, CONTROLS, strict=True):
            if scores := self.controls.get(control.key):
                look = {"marker": marker, "linestyle": LINES[control.kind], "label": control.label}
                colour = getattr(theme, control.kind)
                marks.upright(axes, list(scores), list(scores.values()), color=colour, linewidth=1.3, **look)
        if self.every_k:
            ks = np.arange(1, len(self.every_k) + 1)
            axes.plot(ks, self.every_k, color=theme.model, linewidth=2.4, label="this connector")
        look = {"marker": "o", "linestyle": "none" if self.every_k else "-", "label": "this connector"}
        marks.upright(axes, list(self.connector), list(self.connector.values()), color=theme.model, **look)
        ks = np.arange(1, max(len(self.every_k), *self.connector) + 1)
        axes.plot(
            ks, ks / (self.n - 1), color=theme.ink, linestyle=(0, (1, 1.5)), label="chance, k / (N − 1)"
        )
        axes.set(xlabel="k, number of neighbours", ylabel="neighbours kept", ylim=(-0.02, 1.04))
        axes.set_xticks(sorted({1, *self.connector}))
        marks.legend(figure, first="this connector")


@dataclass(frozen=True)
class SpreadChart:
    """How one figure is spread over the images, beside the same figure of the untrained control."""

    values: Float[np.ndarray, " n"]
    untrained: Float[np.ndarray, " m"] | None
    label: str
    bins: int
    """One around each possible share, or around every so many of them."""

    def draw(self, figure: Figure, theme: Theme) -> None:
        """Draw onto an empty figure."""
        axes = figure.subplots()
        edges = (np.arange(-0.5, self.bins + 1) / self.bins).tolist()
        axes.hist(self.values, edges, color=theme.model, alpha=0.75, label="this connector")
        if self.untrained is not None:
            outline = axes.hist(self.untrained, edges, histtype="step", label="same architecture, untrained")[
                2
            ]
            for patch in np.atleast_1d(outline):  # type: ignore[arg-type]
                patch.set(edgecolor=theme.untrained, linewidth=2.0, linestyle="-.")
        mean = float(self.values.mean())
        axes.axvline(mean, color=theme.ink, linestyle="--", label="mean of this connector")
        axes.set(xlabel=self.label, ylabel="images", xlim=(edges[0], edges[-1]))
        marks.legend(figure)


@dataclass(frozen=True)
class BeforeAfter:
    """Figures on both sides of the connector, each pair with its chance."""

    names: Sequence[str]
    before: Sequence[Score]
    after: Sequence[Score]

    def draw(self, figure: Figure, theme: Theme) -> None:
        """Draw onto an empty figure."""
        axes = figure.subplots()
        places = marks.rows(axes, self.names)
        marks.lying(
            axes, places - 0.14, self.before, color=theme.oracle, marker="s", label="before the connector"
        )
        marks.lying(axes, places + 0.14, self.after, color=theme.model, marker="o", label="after it")
        chances = [np.nan if score.chance is None else score.chance for score in self.after]
        axes.scatter(chances, places, marker="|", s=260, color=theme.ink, linewidths=1.4, label="chance")
        axes.set_xlim(left=0)
        marks.legend(figure)
