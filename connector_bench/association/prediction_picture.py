"""Predicted against true scores of connectors as one panel, with the line of equality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from connector_bench.association.prediction_values import FixedTarget, PredictedConnector

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PREDICTED, CHOSEN_ON = "C0", "0.55"


def draw_prediction(axes: Axes, found: FixedTarget) -> None:
    """The connectors that were predicted, and, hollow, those that the line was chosen on, each by the others' line."""
    groups = {
        "chosen on, each by the line through the others": (found.chosen_on, CHOSEN_ON, "none"),
        "predicted beforehand": (found.predicted, PREDICTED, PREDICTED),
    }
    for label, (connectors, colour, face) in groups.items():
        if connectors:
            axes.scatter(
                *_sides(connectors), edgecolors=colour, facecolors=face, label=f"{label} ({len(connectors)})"
            )
    everyone = [*found.chosen_on, *found.predicted]
    ends = [value for one in everyone for value in (one.predicted, one.true)]
    if ends:
        axes.axline((min(ends), min(ends)), slope=1, color="0.3", linewidth=1, linestyle="--")
        axes.legend(fontsize="small", loc="upper left")
    axes.set_xlabel(f"predicted {found.target}")
    axes.set_ylabel(f"{found.target}")
    axes.set_title(_title(found), fontsize="small")
    axes.margins(x=0.14, y=0.14)
    write_names(
        axes,
        [
            (one.predicted, one.true, one.connector, colour)
            for connectors, colour, _ in groups.values()
            for one in connectors
        ],
    )


def write_names(axes: Axes, names: Sequence[tuple[float, float, str, str]]) -> None:
    """Names beside their points, each (x, y, name, colour), moved apart where they would overlap."""
    from adjustText import adjust_text

    written = [axes.text(x, y, name, fontsize=7, color=colour) for x, y, name, colour in names]
    adjust_text(
        written,
        x=[x for x, *_ in names],
        y=[y for _, y, *_ in names],
        ax=axes,
        expand=(1.3, 1.7),
        arrowprops={"arrowstyle": "-", "color": "0.7", "lw": 0.5},
    )


def _sides(connectors: Sequence[PredictedConnector]) -> tuple[list[float], list[float]]:
    return [one.predicted for one in connectors], [one.true for one in connectors]


def _title(found: FixedTarget) -> str:
    lines = []
    if found.r2_left_out is not None:
        lines.append(f"chosen on: left-out R2 {found.r2_left_out:.2f}")
    for against, r2 in (
        ("the mean of those chosen on", found.r2_against_chosen),
        ("their own mean", found.r2_against_own_mean),
    ):
        if r2 is not None:
            lines.append(
                f"predicted beforehand: R2 {r2.value:.2f} [{r2.low:.2f}, {r2.high:.2f}] against {against}"
            )
    return "\n".join(lines) or "no connector of the prediction is measured"
