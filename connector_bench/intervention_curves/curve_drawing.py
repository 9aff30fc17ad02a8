"""The curves as a picture: a panel a model, a line an order, the interval of what each point costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from connector_bench.atomic_files import appearing
from connector_bench.intervention_curves.paired_points import PairedCurves, PointDifference
from connector_bench.interventions.intervention import Intervention, Mask
from connector_bench.leaderboard.text import visible

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

LOOKS = (("#D55E00", "o", "-"), ("#0072B2", "s", "--"), ("#333333", "^", ":"), ("#009E73", "D", "-."))
"""Colour, marker and line of each series: colour-blind readers tell them apart by any of the three."""
UNTOUCHED, FLOOR = "#8A8A8A", "#BBBBBB"
MOST_COLUMNS, MOST_NAMES = 4, 5


def draw_curves(curves: PairedCurves, metric: str, path: Path) -> None:
    """A PNG of one figure: its value over the strength, bars for the paired interval of its distance from untouched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = [one for one in curves.against_untouched if one.metric == metric]
    models = list(dict.fromkeys(one.model for one in found))
    columns = min(MOST_COLUMNS, len(models))
    rows = -(-len(models) // columns)
    figure = Figure(figsize=(max(3.2 * columns, 4.5), 3.0 * rows + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    looks = _looks(found)
    for axis, model in zip(panels, models, strict=False):
        own = [one for one in found if one.model == model]
        _panel(axis, own, looks, curves.untouched[model][metric])
        axis.set_title(_plain(model.removeprefix("connector_zoo/")), fontsize=9)
    for axis in panels[len(models) :]:
        axis.set_visible(False)
    panels[0].set_ylabel(_plain(f"{curves.task}: {metric}"), fontsize=8)
    named: dict[str, Artist] = {}
    for axis in panels[: len(models)]:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    columns = min(MOST_NAMES, len(named))
    figure.legend(
        list(named.values()),
        list(named),
        loc="outside lower center",
        ncols=columns,
        fontsize=8,
        frameon=False,
    )
    with appearing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def series_of(intervention: Intervention) -> str:
    """The line that a point belongs to."""
    return (
        f"masked, {intervention.order} loss".replace("random loss", "random order")
        if isinstance(intervention, Mask)
        else intervention.kind
    )


def _looks(found: Sequence[PointDifference]) -> Mapping[str, tuple[str, str, str]]:
    series = dict.fromkeys(series_of(one.intervention) for one in found if one.intervention.strength)
    return {name: LOOKS[number % len(LOOKS)] for number, name in enumerate(series)}


def _panel(
    axis: Axes, own: Sequence[PointDifference], looks: Mapping[str, tuple[str, str, str]], untouched: float
) -> None:
    axis.axhline(untouched, color=UNTOUCHED, linewidth=1, label="untouched")
    lines: dict[str, list[tuple[float, PointDifference]]] = {}
    for one in own:
        if one.intervention.strength is None:
            axis.axhline(
                one.value, color=FLOOR, linewidth=1.5, linestyle="--", label=_plain(one.intervention.said)
            )
        else:
            strength = float(getattr(one.intervention, one.intervention.strength))
            lines.setdefault(series_of(one.intervention), []).append((strength, one))
    named = {one.intervention.strength for one in own if one.intervention.strength}
    for series, points in lines.items():
        colour, marker, line = looks[series]
        points.sort(key=lambda point: point[0])
        values = [one.value for _, one in points]
        below = [one.difference.value - one.difference.low for _, one in points]
        above = [one.difference.high - one.difference.value for _, one in points]
        axis.errorbar(
            [strength for strength, _ in points], values, yerr=[below, above], color=colour, marker=marker,
            linestyle=line, markersize=4, linewidth=1.4, elinewidth=1, capsize=2, label=_plain(series),
        )  # fmt: skip
    axis.set_xlabel({"share": "share of the tokens", "size": "noise / spread"}.get(*named, *named) if len(named) == 1
                    else "strength", fontsize=8)  # fmt: skip
    axis.tick_params(labelsize=7)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _plain(text: str) -> str:
    """No formula of matplotlib's."""
    return visible(text).replace("$", r"\$")
