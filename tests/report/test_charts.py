import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from connector_bench.association import values as association
from connector_bench.report.association_charts import Forest, ForestRow
from connector_bench.report.beyond_overlap import GalleryChart
from connector_bench.report.chart import PNG_DOTS_PER_INCH, WIDE, Chart
from connector_bench.report.preservation_charts import KCurve, SpreadChart
from connector_bench.report.reconstruction_charts import LadderChart, Learning, Series
from connector_bench.report.theme import DARK, LIGHT
from connector_bench.stats.intervals import Score

KS = (1, 10, 50)


def scored(value: float) -> Score:
    return Score(value, value - 0.02, value + 0.03, 100, 0.1, "a method")


CURVE = KCurve(
    [0.2 + 0.01 * k for k in range(50)],
    {k: scored(0.2 + 0.01 * (k - 1)) for k in KS},
    {"untrained": {k: scored(0.5) for k in KS}, "identity": {k: scored(1.0) for k in KS}},
    101,
)
CHART = Chart("curve", "a title", "what it shows", "what it says", CURVE.draw)


def test_a_chart_is_the_same_every_time_whatever_the_users_settings_are() -> None:
    first = CHART.svg(LIGHT)
    with rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        assert CHART.svg(LIGHT) == first
    assert CHART.svg(DARK) != first


def test_an_svg_asks_for_nothing() -> None:
    svg = CHART.svg(LIGHT).decode()
    links = set(re.findall(r'(?:href|src)="([^"]*)"', svg))
    assert links
    assert all(link.startswith("#") for link in links)
    assert not re.search(r"<script|<foreignObject|@import|url\((?!#)", svg)


def test_an_svg_has_no_paper_behind_it() -> None:
    """The shadow of a chart that scrolls lies below it."""
    assert LIGHT.paper not in CHART.svg(LIGHT).decode()
    with Image.open(BytesIO(CHART.png())) as png:
        assert png.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


def test_a_png_is_large_enough_for_print() -> None:
    assert Image.open(BytesIO(CHART.png())).width == pytest.approx(WIDE * PNG_DOTS_PER_INCH, abs=1)


def test_names_are_text_and_no_formula_or_markup() -> None:
    row = ForestRow("$\\frac{1}{0}$ <script>", "a group", association.Tested(scored(0.1), 0.5, 0.5))
    forest = Forest([row], 0.0, "none", "$x_")
    chart = Chart("forest", "", "", "", forest.draw)
    assert b"<script" not in chart.svg(LIGHT)
    assert chart.png()


def test_the_curve_has_every_k_and_chance() -> None:
    figure = Figure()
    CURVE.draw(figure, LIGHT)
    (axes,) = figure.axes
    lines = {len(line.get_xdata()): np.asarray(line.get_ydata(), float) for line in axes.lines}
    assert len(lines[50]) == 50
    drawn = [np.asarray(line.get_ydata(), float) for line in axes.lines if len(line.get_xdata()) == 50]
    assert any(np.allclose(values, CURVE.every_k) for values in drawn)
    assert any(np.allclose(values, np.arange(1, 51) / 100) for values in drawn)


def test_the_legend_has_the_connectors_line_with_its_marks() -> None:
    figure = Figure()
    CURVE.draw(figure, LIGHT)
    (legend,) = figure.legends
    assert legend.get_texts()[0].get_text() == "this connector"
    first = [line for line in legend.findobj(Line2D) if line.get_color() == LIGHT.model]
    assert any(line.get_linestyle() == "-" for line in first)
    assert any(line.get_marker() == "o" for line in first)


def test_sizes_of_galleries_are_written_as_numbers() -> None:
    """On a logarithmic axis matplotlib writes powers in TeX, which is not read here."""
    figure = Figure()
    GalleryChart([(256, scored(0.3)), (1024, scored(0.2))], [], (10240, scored(0.1))).draw(figure, LIGHT)
    FigureCanvasAgg(figure).draw()
    axis = figure.axes[0].xaxis
    assert [label.get_text() for label in axis.get_ticklabels()] == ["256", "1,024", "10,240"]
    assert not any(label.get_text() for label in axis.get_ticklabels(minor=True))


def test_bars_end_where_the_interval_ends() -> None:
    figure = Figure()
    CURVE.draw(figure, LIGHT)
    bars = [path for collection in figure.axes[0].collections for path in collection.get_paths()]
    spans = {tuple(np.round(np.sort(path.vertices[:, 1]), 6)) for path in bars}
    assert (0.48, 0.53) in spans


def test_figures_without_significance_are_hollow() -> None:
    rows = [
        ForestRow("a", "g", association.Tested(scored(0.1), 0.001, 0.01)),
        ForestRow("b", "g", association.Tested(scored(0.1), 0.5, 0.5)),
    ]
    figure = Figure()
    Forest(rows, 0.0, "none", "x").draw(figure, LIGHT)
    faces = [line.get_markerfacecolor() for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert faces.count(LIGHT.paper) == 1


def test_every_image_falls_into_the_bin_of_its_share() -> None:
    values = np.repeat(np.arange(11) / 10, np.arange(1, 12))
    figure = Figure()
    SpreadChart(values, None, "share", 10).draw(figure, LIGHT)
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert heights == list(range(1, 12))


def test_a_value_far_below_the_ladder_is_left_of_the_axis_and_said_to_be() -> None:
    ladder = LadderChart(["ridge"], [Series("connector", "model", {"ridge": scored(0.5)})])
    assert not ladder.cut
    low = LadderChart(["ridge"], [*ladder.series, Series("shuffled", "oracle", {"ridge": scored(-4.0)})])
    assert low.cut
    figure = Figure()
    low.draw(figure, LIGHT)
    assert figure.axes[0].get_xlim()[0] > -0.5


def test_a_probes_marks_lie_about_its_name() -> None:
    """Also where most controls have no such probe."""
    both = {"ridge": scored(0.5), "mlp": scored(0.6)}
    series = [Series("connector", "model", both | {"attention": scored(0.7)}), Series("a", "oracle", both)]
    series.append(Series("b", "random", {"ridge": scored(0.2)}))
    figure = Figure()
    LadderChart(["ridge", "mlp", "attention"], series).draw(figure, LIGHT)
    (axes,) = figure.axes
    marked = [line for line in axes.lines if line.get_marker() in ("o", "s", "D")]
    heights = sorted(float(y) for line in marked for y in np.ravel(line.get_ydata()))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ridge", "mlp", "attention"]
    assert np.mean(heights[:3]) == pytest.approx(0)
    assert np.mean(heights[3:5]) == pytest.approx(1)
    assert heights[5:] == pytest.approx([2])
    assert len(set(heights)) == len(heights)


def test_a_learning_curve_names_its_images(tmp_path: Path) -> None:
    figure = Figure()
    Learning([250.0, 500.0, 1000.0], {"ridge": [0.1, 0.2, 0.3], "mlp": [0.1, 0.25, 0.4]}, "mlp").draw(
        figure, DARK
    )
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["250", "500", "1,000"]
