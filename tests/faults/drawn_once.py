"""Pictures of undamaged numbers are drawn once: they are most of what a command takes, and the same each time."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from connector_bench.comparison import plots
from connector_bench.comparison.compare import Comparison
from connector_bench.report import loss_pictures
from connector_bench.report.chart import Chart
from connector_bench.report.theme import Theme


class DrawnOnce:
    """Remembers what the package draws while `learning`, by all that it is drawn from; everything else it draws."""

    def __init__(self) -> None:
        self.learning = True
        self.reused = 0
        self._known: dict[bytes, bytes] = {}

    def get(self, draw: Callable[[], bytes], *content: object) -> bytes:
        """The picture of this content."""
        try:
            key = hashlib.sha256(pickle.dumps(content)).digest()
        except (pickle.PicklingError, AttributeError, TypeError):
            return draw()
        if key in self._known:
            self.reused += 1
            return self._known[key]
        drawn = draw()
        if self.learning:
            self._known[key] = drawn
        return drawn


@contextmanager
def drawn_once() -> Iterator[DrawnOnce]:
    """Within the block `compare` and `report` draw what they drew while it was learning no second time."""
    kept = DrawnOnce()
    plot, chart, overlay = plots.plot_differences, Chart._render, loss_pictures.render

    def plotted(comparison: Comparison, task: str, path: Path) -> None:
        def draw() -> bytes:
            plot(comparison, task, path)
            return path.read_bytes()

        items = [item for item in comparison.differences if item.task == task]
        path.write_bytes(kept.get(draw, comparison.first, comparison.second, items))

    def rendered(self: Chart, theme: Theme, **options: Any) -> bytes:
        return kept.get(lambda: chart(self, theme, **options), self, theme, options)

    def overlaid(picture: Any, loss_map: Any, **options: Any) -> bytes:
        shown = {name: value for name, value in options.items() if name != "encoding"}
        pixels = picture.mode, picture.size, picture.tobytes()
        return kept.get(lambda: overlay(picture, loss_map, **options), pixels, loss_map, shown)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "plot_differences", plotted)
        patch.setattr(Chart, "_render", rendered)
        patch.setattr(loss_pictures, "render", overlaid)
        yield kept
