"""The report's section on neighbour preservation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from connector_bench.metrics import CONTROLS
from connector_bench.number_style import number
from connector_bench.report.beyond_overlap import further_blocks
from connector_bench.report.blocks import (
    SCORE_COLUMNS,
    Block,
    Prose,
    ReportTable,
    Section,
    TableCell,
    score_cells,
)
from connector_bench.report.chart import WIDE, Chart
from connector_bench.report.geometry_tables import geometry_table, retrieval_blocks
from connector_bench.report.overlap_table import headline_k, overlap_table, overlaps
from connector_bench.report.preservation_charts import KCurve, SpreadChart
from connector_bench.report.shared import shared_labels
from connector_bench.results.tasks import TaskRun
from connector_bench.stats.intervals import Score

POOLING = {"mean": "the mean of its tokens", "none": "all its tokens in a row"}
EVERY_K = (
    " The connector's line is measured at every k, marks with bars are at some; a control's marks are joined."
)
FINEST = 20
"""Bins of a histogram at most."""


def preservation_section(task: TaskRun, suffix: str = "") -> Section:
    """Charts and tables of one task, those that its record and its documents allow."""
    blocks: list[Block] = [Prose(_method(task))]
    if kept := overlaps(task.scores):
        blocks += [
            _k_curve(task, kept),
            overlap_table(
                f"{task.anchor}-overlap", task.scores, task.scores_beside_controls, shared_labels(task)
            ),
            _spread(task, kept),
        ]
    if paper := overlaps(task.scores, "paper_knor_"):
        blocks.append(_paper_table(task, paper))
    blocks += further_blocks(task)
    blocks += retrieval_blocks(task)
    blocks += geometry_table(task)
    return Section(task.anchor, f"Neighbours{suffix}", f"Neighbours kept: {task.name}", tuple(blocks))


def _method(task: TaskRun) -> str:
    options = task.record.get("options") or {}
    pooling = POOLING.get(str(options.get("pooling")), "pooled")
    tap = ", behind the connector's leading norm" if options.get("tap") == "pre_normed" else ""
    widths = [task.record.get(f"{side}_width") or "?" for side in ("pre", "post")]
    return (
        f"Each of {task.record['n_images']:,} images is one vector on each side of the connector, {pooling}: "
        f"{widths[0]} dimensions before it{tap}, {widths[1]} after it. Distance: {options.get('distance', 'l2')}. An "
        "image is never its own neighbour. Overlap depends on the number of images, so it compares with figures "
        "of the same images alone."
    )


def _k_curve(task: TaskRun, kept: dict[int, Score]) -> Chart:
    controls = {control.key: overlaps(task.scores, f"{control.key}_knor_") for control in CONTROLS}
    curve = KCurve(tuple(task.record.get("curve", ())), kept, controls, task.record["n_images"])
    first = kept[min(kept)]
    said = [f"k = {k}: {number(s.value)} (chance {number(s.chance or 0.0)})" for k, s in kept.items()]
    return Chart(
        name=f"{task.anchor}-k-curve",
        title="Overlap of neighbours over k",
        shows=(
            "Share of an image's k nearest neighbours before the connector that are among its k nearest after it, mean "
            f"over N = {first.n:,} images. Bars: {first.method}; for the untrained connector they span its seeds. "
            f"Identity and rotation must lie at 1, shuffled pairs at chance.{_controls_among(task, first.n)}"
            + (EVERY_K if curve.every_k else "")
        ),
        alt=f"Line chart. Share of neighbours that this connector keeps, at {'; '.join(said)}.",
        draw=curve.draw,
        inches=(WIDE, 4.1),
    )


def _controls_among(task: TaskRun, n: int) -> str:
    among = next(iter(overlaps(task.scores_beside_controls).values())).n
    if among == n:
        return ""
    return (
        f" Controls are measured among {among:,} of the images, where overlap is another: the table has the connector "
        "there beside them."
    )


def _paper_table(task: TaskRun, paper: Mapping[int, Score]) -> ReportTable:
    return ReportTable(
        name=f"{task.anchor}-paper",
        title="Overlap by the published procedure",
        shows="The image itself counts as its own neighbour here, as in the paper's code, which raises the figure.",
        columns=("k", *SCORE_COLUMNS),
        rows=tuple((TableCell(str(k), k), *score_cells(score)) for k, score in paper.items()),
    )


def _spread(task: TaskRun, kept: Mapping[int, Score]) -> Block:
    k = headline_k(kept)
    values, untrained = (_column(task, f"{control}knor_{k}") for control in ("", "untrained_"))
    if not len(values):
        text = f"How overlap is spread over images: {task.name} has no sample file. Run lmms-eval with --log_samples."
        return Prose(text, "missing")
    beside = len(untrained) == len(values)  # among fewer images any map keeps more
    spread = SpreadChart(values, untrained if beside else None, f"neighbours kept of {k}", min(k, FINEST))
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    said = (
        f"median {number(middle)}, middle half {number(low)} to {number(high)}; "
        f"{int((values == 0).sum()):,} of {len(values):,} images keep none"
    )
    return Chart(
        name=f"{task.anchor}-spread",
        title=f"Overlap by image, k = {k}",
        shows=f"Images by the share of neighbours kept, N = {len(values):,}: {said}."
        + (" Untrained: mean of its seeds." if beside else ""),
        alt=f"Histogram of the share of neighbours kept: {said}.",
        draw=spread.draw,
        inches=(WIDE, 3.2),
    )


def _column(task: TaskRun, figure: str) -> Float[np.ndarray, " n"]:
    """One figure of every document that has it; empty without documents."""
    values = (row.get(figure) for row in task.kept_answers.values())
    return np.array([value for value in values if isinstance(value, int | float)], dtype=np.float64)
