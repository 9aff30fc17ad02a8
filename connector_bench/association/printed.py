"""An analysis as tables in the terminal; what is not significant after adjustment is dim and says so."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from connector_bench.association.printed_predictions import predictions
from connector_bench.association.values import (
    AcrossConnectors,
    Analysis,
    Contrast,
    Grounded,
    JoinedTable,
    Pair,
    Partial,
    Skipped,
    Tested,
)
from connector_bench.headlines import HEADLINE_LOSSES, WHOLE_LOSSES
from connector_bench.metrics import label_of, loss_named
from connector_bench.number_style import counted, number, with_interval
from connector_bench.stats.paired import LEVEL

REASONS_SHOWN = 3
"""Of what has no figure, for each model."""


def terminal(analysis: Analysis, everything: bool = False) -> RenderableType:
    """A table of pairs for each join, both sides of the answer mask, connectors, then what has no figure and why.

    Unless `everything` is asked for, that is the headline losses beside each task's first metric.
    """
    parts: list[RenderableType] = []
    shown = 0
    for table in analysis.tables:
        main = next(iter(table.scores), None)
        pairs = [
            pair
            for pair in analysis.pairs
            if _same_join(pair, table)
            and (everything or (pair.loss in HEADLINE_LOSSES and pair.score == main))
        ]
        sides = [
            entry
            for entry in analysis.grounded
            if _same_join(entry, table) and (everything or entry.score == main)
        ]
        parts += [_pairs(pairs, table)] if pairs else []
        parts += [_grounded(sides, table)] if sides else []
        shown += len(pairs)
    across = [found for found in analysis.across if everything or found.loss in HEADLINE_LOSSES]
    for _, group in groupby(across, key=lambda entry: (entry.connector_task, entry.score_task)):
        entries = list(group)
        told = [entry for entry in entries if any(entry.correlations.values())]
        parts.append(_across(told) if told else _no_claim(entries[0]))
        parts += [
            line
            for entry in told
            if everything or (entry.loss in WHOLE_LOSSES and entry.score == entries[0].score)
            if (line := _leaning(entry)) is not None
        ]
    parts += [
        _contrast(one) for one in analysis.contrasts if everything or one.score == _main_score(analysis, one)
    ]
    parts += predictions(analysis, everything)
    hidden = len(analysis.pairs) - shown + len(analysis.across) - len(across)
    return Group(*parts, *_footnotes(analysis, hidden))


def _same_join(figure: Pair | Grounded, table: JoinedTable) -> bool:
    return (figure.model, figure.connector_task, figure.score_task) == (
        table.model,
        table.connector_task,
        table.score_task,
    )


def _pairs(pairs: Sequence[Pair], joined: JoinedTable) -> Table:
    controls = next((pair.partial.controls for pair in reversed(pairs) if pair.partial), ())
    of_itself = joined.score_task == joined.connector_task
    table = Table(
        title=f"{joined.model}: {joined.connector_task} beside "
        + ("its own retrieval" if of_itself else joined.score_task),
        caption=f"joined by {joined.identity}"
        + (f"; partial: {', '.join(map(label_of, controls))} held fixed" if controls else "")
        + (f"; n and intervals: {joined.unit}" if joined.drawn_with else ""),
    )
    for column in ("loss", "score", "n", "Spearman", "partial", "quartiles", "AUROC", "best baseline"):
        table.add_column(column, overflow="fold")
    for pair in pairs:
        count = f"{pair.documents}" + (f"\n{pair.images} images" if pair.images < pair.documents else "")
        count += "" if pair.draws is None else f"\n{pair.draws} groups"
        cells = (_tested(pair.spearman), _partial(pair.partial), _quartiles(pair), *_prediction(pair))
        table.add_row(loss_named(pair.loss), pair.score, count, *cells, end_section=True)
    return table


def _quartiles(pair: Pair) -> Text:
    """Mean score of the quarter with the least and the most loss, and the difference."""
    if pair.quartiles is None:
        return Text("–")
    ends = f"{number(pair.quartiles.lowest.value)} → {number(pair.quartiles.highest.value)}: "
    return Text(ends) + _tested(pair.quartiles.difference)


def _prediction(pair: Pair) -> tuple[Text, Text]:
    """AUROC of the loss; the best baseline's and the advantage of the loss over it."""
    if pair.prediction is None:
        return Text("–"), Text("–")
    auroc = _tested(pair.prediction.auroc)
    if not pair.prediction.baselines:
        return auroc, Text("–")
    best = max(pair.prediction.baselines, key=lambda baseline: baseline.auroc.score.value)
    return auroc, Text(f"{label_of(best.name)} {number(best.auroc.score.value)}: ") + _tested(best.advantage)


def _grounded(found: Sequence[Grounded], joined: JoinedTable) -> Table:
    table = Table(
        title=f"{joined.model}: loss inside and outside the answer mask beside {joined.score_task} (Spearman)"
    )
    for column in ("loss", "score", "n", "inside", "outside", "inside, partial", "outside, partial"):
        table.add_column(column, overflow="fold")
    table.add_column("inside less outside")
    for entry in found:
        cells = (
            _tested(entry.inside),
            _tested(entry.outside),
            _partial(entry.inside_partial),
            _partial(entry.outside_partial),
            _tested(entry.difference),
        )
        table.add_row(entry.measure, entry.score, str(entry.documents), *cells, end_section=True)
    return table


def _across(found: Sequence[AcrossConnectors]) -> Table:
    first = found[0]
    table = Table(
        title=f"Across connectors: Spearman of {first.connector_task}'s losses and {first.score_task}'s scores"
    )
    for column in ("loss", "score", *first.correlations):
        table.add_column(column, overflow="fold")
    for entry in found:
        cells = [
            Text(entry.refusals[name], style="dim") if correlation is None else _tested(correlation)
            for name, correlation in entry.correlations.items()
        ]
        table.add_row(loss_named(entry.loss), entry.score, *cells)
    return table


def _leaning(found: AcrossConnectors) -> Text | None:
    """What the correlation over trained connectors becomes without some of them."""
    leans, correlation = found.sensitivity, found.correlations.get("trained")
    if leans is None or correlation is None:
        return None
    said = [
        f"{number(leans.lowest.value)} (without {leans.lowest.left_out}) to {number(leans.highest.value)} (without "
        f"{leans.highest.left_out}) with one left out"
    ]
    said += [
        f"{number(part.value)} {name} (n = {len(part.connectors)}{'' if part.p is None else f', p = {part.p:.2g}'})"
        for name, part in leans.parts.items()
    ]
    value = f"{number(correlation.score.value)} over {correlation.score.n} trained connectors"
    return Text(
        f"{loss_named(found.loss)} of {found.connector_task} with {found.score}, {value}: {'; '.join(said)}"
    )


def _contrast(found: Contrast) -> Text:
    first, second = (
        f"{loss_named(loss)} of {task}"
        for loss, task in zip(found.losses, found.connector_tasks, strict=True)
    )
    score, p, q = found.difference.score, found.difference.p, found.difference.q
    if p is None or q is None:
        figure = f"{number(score.value)}, {score.method}"
    else:
        verdict = "" if found.difference.significant else ", not significant"
        figure = f"{with_interval(score.value, score.low, score.high)}, p = {p:.2g}, q = {q:.2g}{verdict}"
    return Text(
        f"{first} less {second}, correlations with {found.score} of {found.score_task} over {score.n} trained "
        f"connectors: {figure}"
    )


def _main_score(analysis: Analysis, found: Contrast) -> str:
    return next(one.score for one in analysis.across if one.score_task == found.score_task)


def _no_claim(found: AcrossConnectors) -> Text:
    reasons = "; ".join(f"{name}: {why}" for name, why in found.refusals.items())
    return Text(
        f"Across connectors, {found.connector_task} beside {found.score_task}: {reasons}", style="dim"
    )


def _footnotes(analysis: Analysis, hidden: int) -> Iterator[Text]:
    yield Text(
        f"±: {100 * analysis.settings.confidence:g} % interval; + and −: its two sides, where one is wider. q: "
        "p-values adjusted (Benjamini and Hochberg) over all figures of a kind; not significant: "
        f"q above {LEVEL}.",
        style="dim",
    )
    for table in analysis.tables:
        for note in table.notes:
            yield Text(f"{table.score_task}: {note}", style="dim")
    if hidden:
        yield Text(
            f"{counted(hidden, 'more pair')} of a loss and a score, in --all and in --json", style="dim"
        )
    for skipped in analysis.skipped:
        if skipped.refused:
            yield Text(f"refused: {skipped.what}: {skipped.why}", style="red")
    yield from _without_figure([skipped for skipped in analysis.skipped if not skipped.refused])


def _without_figure(skipped: Sequence[Skipped]) -> Iterator[Text]:
    """A line per model: each reason, with the first of what it concerns."""
    by_model: dict[str, dict[str, list[str]]] = {}
    for one in skipped:
        model, _, what = one.what.partition(": ")
        by_model.setdefault(model, {}).setdefault(one.why, []).append(what)
    for model, reasons in by_model.items():
        told = [f"{_first_of(what)}: {why}" for why, what in reasons.items()]
        shown = told[:REASONS_SHOWN]
        if len(told) > len(shown):
            shown.append(f"{counted(len(told) - len(shown), 'more reason')} in --json")
        yield Text(f"no figure: {model}: {'; '.join(shown)}", style="yellow")


def _first_of(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}"


def _tested(found: Tested) -> Text:
    score = found.score
    if not math.isfinite(score.low):
        return Text(f"{number(score.value)}, {score.method}", style="dim")
    shown = with_interval(score.value, score.low, score.high)
    if found.significant:
        return Text(f"{shown}\nq = {found.q:.1g}")
    return Text(f"{shown}\nnot significant", style="dim")


def _partial(partial: Partial | None) -> Text:
    return Text("–") if partial is None else _tested(partial.correlation)
