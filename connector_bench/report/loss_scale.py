"""The one colour scale of all loss maps: what a patch may lose, and the colours that say so."""

from __future__ import annotations

from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from connector_bench.number_style import LOSS_COLOURS, LOSS_RANGE
from connector_bench.report.chart import WIDE, Chart
from connector_bench.report.theme import Theme


def scale() -> Normalize:
    """From a patch's loss to a place among the colours."""
    return Normalize(*LOSS_RANGE, clip=True)


def scale_chart(width: float = WIDE) -> Chart:
    """The scale with its numbers, for a page and for a paper; `width` in inches."""
    return Chart(
        name="loss-scale",
        title="Colours of every loss map",
        shows=(
            "Squared error of the best probe in a patch over the mean variance of patches. 0: rebuilt exactly. 1: what "
            "the mean patch misses on average; patches that differ more from it can miss more. The same "
            "colours for every model."
        ),
        alt="Colour scale from 0, dark, a patch that is rebuilt exactly, to 1 and more, bright, a patch that is lost.",
        draw=_draw,
        inches=(width, 0.62),
    )


def _draw(figure: Figure, theme: Theme) -> None:
    bar = figure.colorbar(
        ScalarMappable(scale(), LOSS_COLOURS), cax=figure.subplots(), orientation="horizontal", extend="max"
    )
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1.0], labels=["0, rebuilt", "0.25", "0.5", "0.75", "1, lost"])
    bar.outline.set_edgecolor(theme.muted)
