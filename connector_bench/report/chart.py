"""A chart is drawn once for each theme and leaves as SVG for the page and as PNG for a paper or slides."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, ClassVar

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from connector_bench.report.theme import LIGHT, Theme

PNG_DOTS_PER_INCH = 200
WIDE = 5.6
"""Inches: wide enough for a page, narrow enough that a telephone does not shrink the text out of sight."""

Draw = Callable[[Figure, Theme], None]


@dataclass(frozen=True)
class Chart:
    """What is drawn, and the words that go with it.

    `name` is the PNG's file name and unique within a report, `shows` the caption (what is shown, N, how intervals
    were made), `alt` what somebody who cannot see the chart needs to know of it.
    """

    kind: ClassVar[str] = "chart"
    name: str
    title: str
    shows: str
    alt: str
    draw: Draw = field(repr=False)
    inches: tuple[float, float] = (WIDE, 3.6)
    within: Callable[[], AbstractContextManager[None]] = field(default=nullcontext, repr=False)
    """Entered whenever it is drawn, long after its record was read: says whose chart it is that cannot be drawn."""

    def svg(self, theme: Theme) -> bytes:
        """The chart as SVG, text as outlines, nothing behind it; the same bytes on every call."""
        return self._render(theme, format="svg", transparent=True, metadata={"Date": None, "Creator": None})

    def png(self) -> bytes:
        """The chart on white, at 200 dots per inch."""
        return self._render(LIGHT, format="png", dpi=PNG_DOTS_PER_INCH, metadata={"Software": None})

    def _render(self, theme: Theme, **options: Any) -> bytes:
        buffer = BytesIO()
        with (
            self.within(),
            style.context(["default", theme.settings]),
        ):  # not what this user's matplotlibrc says
            figure = Figure(figsize=self.inches, layout="constrained")
            FigureCanvasAgg(figure)
            self.draw(figure, theme)
            figure.savefig(buffer, **options)
        return buffer.getvalue()
