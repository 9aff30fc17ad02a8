"""What predicts answers across connectors, as tables and sentences in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from connector_bench.association.prediction_values import (
    FixedPrediction,
    FixedTarget,
    LeftOutPair,
    LeftOutPrediction,
    PredictedConnector,
)
from connector_bench.association.values import Analysis
from connector_bench.metrics import loss_named
from connector_bench.number_style import MINUS, number, with_interval
from connector_bench.stats.intervals import Score
from connector_bench.stats.paired import LEVEL

POINTS = 100
AS_WRITTEN = 0.0006
"""Up to which two R2 are the same where one is written to three digits."""
NAMES_SHOWN = 6
"""Of what is left out, unless everything is asked for."""


def predictions(analysis: Analysis, everything: bool) -> Iterator[RenderableType]:
    """The best figure and the best baseline of every score, or every pair; then a prediction fixed beforehand."""
    if analysis.left_out is not None:
        yield _left_out(analysis.left_out, everything)
        yield from _chance(analysis.left_out, everything)
    if analysis.fixed is not None:
        for target in analysis.fixed.targets:
            yield _fixed(analysis.fixed, target)
            yield from _verdicts(analysis.fixed, target)
        yield from _names(analysis.fixed)


def _left_out(found: LeftOutPrediction, everything: bool) -> Table:
    table = Table(
        title=f"What predicts scores: each of {len(found.connectors)} trained connectors by the others' line",
        caption="R2 against the mean of the others, and the least with one connector taken away; error in points, that "
        "of the constant prediction in brackets; p family-wise, over all pairs",
    )
    for column in ("score", "predictor", "R2", "without one", "rank correlation", "error", "p"):
        table.add_column(column, overflow="fold")
    for target, constant in found.constant_errors.items():
        pairs = sorted((one for one in found.pairs if one.target == target), key=lambda one: -one.r2.value)
        shown = pairs if everything else [_first(pairs, baseline=False), _first(pairs, baseline=True)]
        rows = [pair for pair in shown if pair is not None]
        for pair in rows:
            table.add_row(*_row(pair, constant), end_section=pair is rows[-1])
    return table


def _first(pairs: Sequence[LeftOutPair], *, baseline: bool) -> LeftOutPair | None:
    return next((pair for pair in pairs if pair.baseline is baseline), None)


def _row(pair: LeftOutPair, constant: float) -> tuple[Text, ...]:
    style = "" if pair.p <= LEVEL else "dim"
    predictor = f"baseline: {pair.predictor}" if pair.baseline else _named(pair.predictor)
    cells = (
        *(pair.target, predictor, _figure(pair.r2)),
        f"{number(pair.lowest)} without {pair.lowest_without}",
        _figure(pair.rank),
        f"{POINTS * pair.mean_absolute_error:.1f} ({POINTS * constant:.1f})",
        f"{pair.p:.2g}" + ("" if pair.p <= LEVEL else ", not significant"),
    )
    return tuple(Text(cell, style=style) for cell in cells)


def _figure(score: Score) -> str:
    return with_interval(score.value, score.low, score.high)


def _named(column: str) -> str:
    """`TASK: FIGURE` with the figure in the catalogue's words."""
    task, _, figure = column.rpartition(": ")
    return f"{task}: {loss_named(figure)}" if task else loss_named(figure)


def _chance(found: LeftOutPrediction, everything: bool) -> Iterator[Text]:
    yield Text(
        f"Pairs of a predictor and a score that were looked at: {len(found.pairs)}; with scores permuted among "
        f"connectors ({found.permutations:,} times, seed {found.seed}) the best of them exceeds R2 "
        f"{number(found.best_by_chance)} once in twenty.",
        style="dim",
    )
    if found.left_out:
        told = found.left_out if everything else found.left_out[:NAMES_SHOWN]
        more = len(found.left_out) - len(told)
        yield Text(
            f"not among them: {'; '.join(told)}" + (f"; {more} more, which --all shows" if more else ""),
            style="dim",
        )


def _fixed(found: FixedPrediction, target: FixedTarget) -> Table:
    table = Table(
        title=f"{target.target} as predicted on {found.fixed_on}: {target.intercept:g} + ({target.slope:g}) x "
        f"({_named(found.predictor)})"
    )
    for column in ("connector", "predicted", "true", "off, in points", "seeds"):
        table.add_column(column, overflow="fold")
    groups: tuple[tuple[Sequence[PredictedConnector], str], ...] = (
        (target.predicted, ""),
        (target.chosen_on, "dim"),
    )
    for connectors, style in groups:
        for one in connectors:
            name = (
                one.connector if not style else f"{one.connector} (chosen on; by the line through the others)"
            )
            off = f"{POINTS * (one.true - one.predicted):+.1f}".replace("-", MINUS)
            cells = (name, number(one.predicted), number(one.true), off, str(one.seeds))
            table.add_row(*(Text(cell, style=style) for cell in cells), end_section=one is connectors[-1])
    return table


def _verdicts(found: FixedPrediction, target: FixedTarget) -> Iterator[Text]:
    if target.r2_left_out is not None:
        differs = abs(target.r2_left_out - target.r2_left_out_in_file) > AS_WRITTEN
        yield Text(
            f"{target.target}: left-out R2 of the {len(target.chosen_on)} connectors that it was chosen on "
            f"{number(target.r2_left_out)}; the file says {number(target.r2_left_out_in_file)}"
            + (", so it was chosen on other figures than these" if differs else ""),
            style="yellow" if differs else "",
        )
    else:
        yield Text(
            f"{target.target}: not all connectors that it was chosen on are in the results", style="yellow"
        )
    for against, r2 in (
        ("the mean of those it was chosen on", target.r2_against_chosen),
        ("their own mean", target.r2_against_own_mean),
    ):
        if r2 is not None:
            reached = "at least" if r2.value >= found.aim else "below"
            yield Text(
                f"{target.target}: R2 {_line(r2)} against {against}, over {r2.n} predicted connectors: {reached} "
                f"{found.aim:.2f}"
            )
    if target.rank is not None and target.mean_absolute_error is not None:
        yield Text(
            f"{target.target}: rank correlation of predicted and true {_line(target.rank)}; mean absolute error "
            f"{POINTS * target.mean_absolute_error:.1f} points"
        )


def _line(score: Score) -> str:
    if not math.isfinite(score.low):
        return f"{number(score.value)} ({score.method})"
    return with_interval(score.value, score.low, score.high)


def _names(found: FixedPrediction) -> Iterator[Text]:
    if found.missing:
        yield Text(
            f"to be predicted, and not among the trained connectors of the results: {', '.join(found.missing)}",
            style="yellow",
        )
    if found.neither:
        yield Text(f"not in the prediction, and not scored: {', '.join(found.neither)}", style="dim")
    if found.reached is None:
        verdict = "is open, as not all of its connectors are in the results"
    else:
        verdict = "is reached" if found.reached else "is not reached"
    yield Text(
        f"The aim, R2 >= {found.aim:.2f} for every target and against either mean, {verdict}.", style="bold"
    )
