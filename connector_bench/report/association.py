"""The report's section on loss beside task performance, from an `Analysis`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from connector_bench.association.grounded import MEASURES
from connector_bench.association.values import Analysis, CalibrationBin, Grounded, JoinedTable, Pair
from connector_bench.metrics import label_of, loss_named
from connector_bench.number_style import number
from connector_bench.report.association_charts import Calibration, Forest, ForestRow, Scatter
from connector_bench.report.association_table import ADJUSTMENT, pairs_table
from connector_bench.report.association_words import (
    anchor,
    headline,
    of_itself,
    rank,
    size,
    title_of,
    verdict,
)
from connector_bench.report.blocks import Block, Prose, Section, Tone
from connector_bench.report.chart import WIDE, Chart
from connector_bench.report.estimates import interval
from connector_bench.stats.paired import LEVEL

FEWEST_BINS = 3
"""Bins from which a calibration plot says something."""
PANELS = 2
GRADED = 6
"""Different values from which a score within 0..1 is drawn as a scatter."""


def association_section(analysis: Analysis) -> Section:
    """For every connector task beside every scored task: correlations, prediction of failure, inside and outside."""
    blocks: list[Block] = []
    if analysis.tables:
        blocks.append(Prose(_method(analysis)))
    for table in sorted(analysis.tables, key=lambda one: (of_itself(one), "lost" not in one.losses)):
        blocks += _of_tables(table, analysis)
    tone: Tone = "plain" if blocks else "missing"
    blocks += [Prose(f"{one.what}: {one.why}", tone) for one in analysis.skipped]
    if not blocks:
        text = (
            "Nothing to join: loss is compared with answers where both a connector task and another task ran."
        )
        blocks.append(Prose(text, "missing"))
    return Section("section-association", "Loss and answers", "Loss beside task performance", tuple(blocks))


def _method(analysis: Analysis) -> str:
    settings = analysis.settings
    return (
        f"Losses point upwards: higher means more lost. Intervals: {100 * settings.confidence:g} % jackknife t "
        "over images, or over groups of images that were drawn together; documents about one image are left out "
        "together. "
        f"Not significant: {ADJUSTMENT} above {LEVEL}. An association within one model is no cause."
    )


def _of_tables(table: JoinedTable, analysis: Analysis) -> list[Block]:
    key = (table.connector_task, table.score_task)
    pairs = [pair for pair in analysis.pairs if (pair.connector_task, pair.score_task) == key]
    grounded = [one for one in analysis.grounded if (one.connector_task, one.score_task) == key]
    name = anchor(table)
    title = title_of(table)
    main = headline(pairs)
    if main is None:
        return [Prose(f"{title}: no figure.", "missing")]
    of_main = [pair for pair in pairs if pair.score == main.score]
    blocks: list[Block] = [_correlations(name, title, of_main)]
    if not of_itself(table):
        blocks += _predictions(name, title, of_main)
    blocks += _scatter(name, title, table, main)
    blocks += _inside_outside(name, title, [one for one in grounded if one.score == main.score])
    notes = list(dict.fromkeys(note for pair in pairs for note in pair.notes))
    blocks.append(pairs_table(name, title, pairs))
    blocks += [Prose(f"{title}: {note}.") for note in table.notes]
    return [*blocks, *([Prose(f"{title}: {'; '.join(notes)}.")] if notes else [])]


def _correlations(name: str, title: str, pairs: Sequence[Pair]) -> Chart:
    rows = [ForestRow(loss_named(pair.loss), "rank correlation", pair.spearman) for pair in pairs]
    rows += [
        ForestRow(loss_named(pair.loss), "with other properties held fixed", pair.partial.correlation)
        for pair in pairs
        if pair.partial is not None
    ]
    held = dict.fromkeys(name for pair in pairs if pair.partial is not None for name in pair.partial.controls)
    fixed = f" Held fixed, where the loss allows it: {', '.join(map(label_of, held))}." if held else ""
    said = "; ".join(
        f"{loss_named(pair.loss)} {interval(pair.spearman.score)}{verdict(pair.spearman)}" for pair in pairs
    )
    return Chart(
        name=f"{name}-correlation",
        title=f"{title}: rank correlation of loss and {pairs[0].score}",
        shows=f"Spearman's correlation, {size(pairs)}. Negative: more loss goes with a lower score.{fixed}",
        alt=f"Forest chart. {said}.",
        draw=Forest(rows, 0.0, "no association", f"correlation with {pairs[0].score}").draw,
        inches=(WIDE, 1.7 + 0.36 * len(pairs)),
    )


def _predictions(name: str, title: str, pairs: Sequence[Pair]) -> list[Block]:
    having = [(pair, pair.prediction) for pair in pairs if pair.prediction is not None]
    main = headline([pair for pair, _ in having]) if having else None
    if main is None or main.prediction is None:
        return []
    found = main.prediction
    rows = [ForestRow(loss_named(pair.loss), "loss", prediction.auroc) for pair, prediction in having]
    rows += [
        ForestRow(
            f"{label_of(one.name)}, {'larger' if one.larger_fails else 'smaller'} fails",
            "baseline",
            one.auroc,
        )
        for one in found.baselines
    ]
    said = "; ".join(f"{row.label} {interval(row.tested.score)}{verdict(row.tested)}" for row in rows)
    simpler = (
        " Baselines are simpler properties, each in its better direction, which favours them."
        if found.baselines
        else ""
    )
    forest = Chart(
        name=f"{name}-auroc",
        title=f"{title}: does loss predict failure?",
        shows=(
            f"AUROC for failure ({found.failure}; {found.failures:,} of {main.documents:,} documents that have "
            f"“{loss_named(main.loss)}”), {size(pairs)}: "
            f"chance that a failed document has more loss than an answered one.{simpler}"
        ),
        alt=f"Forest chart. {said}.",
        draw=Forest(rows, 0.5, "chance", "AUROC").draw,
        inches=(WIDE, 1.7 + 0.3 * len(rows)),
    )
    binned = [
        (pair.loss, found.calibration) for pair, found in having if len(found.calibration) >= FEWEST_BINS
    ]
    panels = sorted(binned, key=lambda panel: rank(panel[0]))[:PANELS]
    return [forest, _calibration(name, title, main, panels)] if panels else [forest]


def _calibration(
    name: str, title: str, main: Pair, panels: Sequence[tuple[str, Sequence[CalibrationBin]]]
) -> Chart:
    assert main.prediction is not None
    overall = main.prediction.failures / main.documents
    loss, bins = panels[0]
    first, last = (number(one.failure_rate.value) for one in (bins[0], bins[-1]))
    return Chart(
        name=f"{name}-calibration",
        title=f"{title}: failures by loss",
        shows=f"Share of failures ({main.prediction.failure}) by deciles of the loss, {size([main])}.",
        alt=f"Line chart. Failures at the lowest {loss_named(loss)}: {first}; at the highest: {last}.",
        draw=Calibration([(loss_named(name), bins) for name, bins in panels], overall).draw,
        inches=(WIDE, 3.4),
    )


def _scatter(name: str, title: str, table: JoinedTable, main: Pair) -> list[Block]:
    scores = table.scores[main.score]
    known = scores[np.isfinite(scores)]
    if len(np.unique(known)) < GRADED and known.max(initial=0.0) <= 1:
        return []
    return [
        Chart(
            name=f"{name}-scatter",
            title=f"{title}: {main.score} over {loss_named(main.loss)}",
            shows=f"A point a document, {size([main])}.",
            alt=f"Scatter plot; rank correlation {interval(main.spearman.score)}{verdict(main.spearman)}.",
            draw=Scatter(table.losses[main.loss], scores, loss_named(main.loss), main.score).draw,
            inches=(WIDE, 3.6),
        )
    ]


def _inside_outside(name: str, title: str, grounded: Sequence[Grounded]) -> list[Block]:
    if not grounded:
        return []
    rows = []
    for one in grounded:
        measure = loss_named(MEASURES[one.measure][0]).removesuffix(" inside the answer")
        rows += [ForestRow(measure, "inside", one.inside), ForestRow(measure, "outside", one.outside)]
        partial = f"{measure}, partial"
        rows += [
            ForestRow(partial, side, found.correlation)
            for side, found in (("inside", one.inside_partial), ("outside", one.outside_partial))
            if found is not None
        ]
    said = "; ".join(
        f"{row.label} {row.group} {interval(row.tested.score)}{verdict(row.tested)}" for row in rows
    )
    return [
        Chart(
            name=f"{name}-inside-outside",
            title=f"{title}: loss inside and outside the answer's region",
            shows=(
                f"Spearman's correlation of {grounded[0].score} with the loss inside and outside the answer mask, "
                f"{size(grounded)}. Partial: mask area and image properties held fixed. q is over the figures of both "
                "sides, so what is significant here need not be among all pairs."
            ),
            alt=f"Forest chart. {said}.",
            draw=Forest(rows, 0.0, "no association", f"correlation with {grounded[0].score}").draw,
            inches=(WIDE, 1.7 + 0.4 * len({row.label for row in rows})),
        )
    ]
