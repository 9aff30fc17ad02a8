"""The table of every loss beside every score."""

from __future__ import annotations

import math
from collections.abc import Sequence

from connector_bench.association.values import Pair, Tested
from connector_bench.metrics import loss_named
from connector_bench.number_style import number
from connector_bench.report.blocks import ReportTable, TableCell
from connector_bench.report.estimates import interval

ADJUSTMENT = "p adjusted for the number of figures of its kind (Benjamini and Hochberg)"

PAIR_COLUMNS = (
    *("loss", "score", "rank correlation", "q", "partial", "q of partial"),
    *("score at lowest loss", "at highest loss", "difference", "AUROC", "documents"),
)


def pairs_table(name: str, title: str, pairs: Sequence[Pair]) -> ReportTable:
    """One row a pair, in the analysis's order."""
    return ReportTable(
        name=f"{name}-pairs",
        title=f"{title}: every pair",
        shows=(
            "With 95 % intervals. Lowest and highest loss: mean score in the outer quartiles. AUROC: the loss as "
            f"predictor of failure. q: {ADJUSTMENT}."
        ),
        columns=PAIR_COLUMNS,
        rows=tuple(_pair_cells(pair) for pair in pairs),
    )


def _pair_cells(pair: Pair) -> tuple[TableCell, ...]:
    partial = pair.partial.correlation if pair.partial is not None else None
    quartiles = pair.quartiles
    outer = (quartiles.lowest, quartiles.highest) if quartiles is not None else (None, None)
    return (
        TableCell(loss_named(pair.loss)),
        TableCell(pair.score),
        *_tested(pair.spearman),
        *_tested(partial),
        *(TableCell("–") if one is None else TableCell(number(one.value), one.value) for one in outer),
        _tested(quartiles.difference if quartiles is not None else None)[0],
        _tested(pair.prediction.auroc if pair.prediction is not None else None)[0],
        TableCell(f"{pair.documents:,}", pair.documents),
    )


def _tested(tested: Tested | None) -> tuple[TableCell, TableCell]:
    if tested is None or not math.isfinite(tested.score.value):
        return TableCell("–"), TableCell("–")
    q = tested.q
    shown = "–" if q is None else "< 0.001" if q < 0.001 else number(q)
    mark = "" if tested.significant else "not significant"
    return TableCell(interval(tested.score), tested.score.value, mark), TableCell(shown, q)
