"""Label retrieval and the geometry of the image vectors, as the report tells them."""

from __future__ import annotations

from connector_bench.metrics import label_of, meanings
from connector_bench.number_style import number
from connector_bench.report.blocks import SCORE_COLUMNS, Block, ReportTable, TableCell, score_cells
from connector_bench.report.chart import WIDE, Chart
from connector_bench.report.preservation_charts import BeforeAfter
from connector_bench.results.tasks import TaskRun
from connector_bench.stats.intervals import Score

RETRIEVAL = {"R@1": "recall_{}_1", "R@5": "recall_{}_5", "mAP": "map_{}"}
SIDES = {"pre": "before", "post": "after", "diff": "after − before, paired"}
OVERLAP_RECALL = "spearman_knor_10_recall_post_5"


def retrieval_blocks(task: TaskRun) -> list[Block]:
    """Recall and precision before and after; nothing for images without labels."""
    names = [name for name, pattern in RETRIEVAL.items() if pattern.format("post") in task.scores]
    if not names:
        return []
    before, after = (
        [task.scores[RETRIEVAL[name].format(side)] for name in names] for side in ("pre", "post")
    )
    said = [
        f"{name} {number(b.value)} before, {number(a.value)} after"
        for name, b, a in zip(names, before, after, strict=True)
    ]
    chart = Chart(
        name=f"{task.anchor}-retrieval",
        title="Label retrieval before and after",
        shows=(
            "Share of images that have one of their own label among their 1 or 5 nearest (R@1, R@5), and mean average "
            f"precision (mAP); N = {after[0].n:,}. Bars: {after[0].method}. Marks: chance."
        ),
        alt=f"Dot chart. {'; '.join(said)}.",
        draw=BeforeAfter(names, before, after).draw,
        inches=(WIDE, 2.9),
    )
    return [chart, _retrieval_table(task, names)]


def _retrieval_table(task: TaskRun, names: list[str]) -> ReportTable:
    named = [
        (f"{name} {label}", RETRIEVAL[name].format(side)) for name in names for side, label in SIDES.items()
    ]
    named.append(("rank correlation, by image, of overlap at k = 10 with R@5 after", OVERLAP_RECALL))
    return _table(
        task, "retrieval-table", "Retrieval", "", [(n, task.scores[k]) for n, k in named if k in task.scores]
    )


def geometry_table(task: TaskRun) -> list[Block]:
    """The measures that the record holds, and how to read each; nothing where it holds none."""
    rows = tuple(
        (TableCell(label_of(name)), *score_cells(task.scores[name]), TableCell(meaning))
        for name, meaning in meanings("knn_preservation", "ranks", "geometry")
        if name in task.scores
    )
    columns = ("measure", *SCORE_COLUMNS, "how to read it")
    shows = "A figure of the whole set has no interval."
    return (
        [ReportTable(f"{task.anchor}-geometry", "Geometry of the image vectors", shows, columns, rows)]
        if rows
        else []
    )


def _table(task: TaskRun, name: str, title: str, shows: str, scores: list[tuple[str, Score]]) -> ReportTable:
    rows = tuple((TableCell(label), *score_cells(score)) for label, score in scores)
    return ReportTable(f"{task.anchor}-{name}", title, shows, ("what", *SCORE_COLUMNS), rows)
