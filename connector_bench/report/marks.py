"""What several charts share: error bars from intervals, named rows, a legend beside the plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from connector_bench.report.estimates import has_interval
from connector_bench.stats.intervals import Score


def reach(scores: Sequence[Score]) -> Float[np.ndarray, "2 n"]:
    """How far intervals reach below and above their values; 0 where there is none."""
    ends = [(s.value - s.low, s.high - s.value) if has_interval(s) else (0.0, 0.0) for s in scores]
    return np.clip(np.array(ends, dtype=np.float64).reshape(-1, 2).T, 0.0, None)


def upright(axes: Axes, x: Sequence[float] | np.ndarray, scores: Sequence[Score], **look: Any) -> None:
    """Values with vertical intervals; `look` as for `Axes.errorbar`."""
    axes.errorbar(x, [s.value for s in scores], yerr=reach(scores), capsize=2.5, markersize=5, **look)


def lying(axes: Axes, y: Sequence[float] | np.ndarray, scores: Sequence[Score], **look: Any) -> None:
    """Values with horizontal intervals, one a row, unconnected."""
    values = [s.value for s in scores]
    axes.errorbar(values, y, xerr=reach(scores), linestyle="none", capsize=2.5, markersize=5, **look)


def rows(axes: Axes, names: Sequence[str]) -> Float[np.ndarray, " n"]:
    """Name the rows of a lying chart, first on top, and say where they are."""
    places = np.arange(len(names), dtype=np.float64)
    axes.set_yticks(places, list(names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(False, axis="y")
    return places


def legend(figure: Figure, first: str | None = None) -> None:
    """Below the plot, where it hides nothing and a narrow screen has room; the entry named comes first.

    A line and marks of one name are one entry.
    """
    found: dict[str, Any] = {}
    for axes in figure.axes:
        here: dict[str, tuple[Any, ...]] = {}
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            here[name] = (*here.get(name, ()), handle)
        found |= here
    names = sorted(found, key=lambda name: name != first)
    figure.legend([found[name] for name in names], names, loc="outside lower left", ncols=2)
