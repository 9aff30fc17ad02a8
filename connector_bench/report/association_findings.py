"""What the summary says of loss beside task performance."""

from __future__ import annotations

from connector_bench.association.values import Analysis, BaselinePrediction, JoinedTable, Pair, Prediction
from connector_bench.metrics import label_of, loss_named
from connector_bench.number_style import number
from connector_bench.report.association_words import LAST, of_itself, rank
from connector_bench.report.blocks import Finding
from connector_bench.report.estimates import interval

MOST = 2
"""Examples of one kind that the summary names."""


def association_findings(analysis: Analysis) -> list[Finding]:
    """For each connector task beside each other task: what correlates, and whether loss predicts failure."""
    found = []
    for table in _beside_others(analysis):
        pairs = _pairs_of(table, analysis)
        first = [pair for pair in pairs if pair.score == pairs[0].score]
        mains = sorted((pair for pair in first if rank(pair.loss) < LAST), key=lambda pair: rank(pair.loss))
        said = [
            _count(pairs),
            *(_prediction(pair, pair.prediction) for pair in mains[:MOST] if pair.prediction),
        ]
        found.append(Finding(f"{table.connector_task} and {table.score_task}", " ".join(said)))
    refused = [one for one in analysis.skipped if one.refused]
    return found + [Finding("Not joined", f"{one.what}: {one.why}", "warning") for one in refused]


def _beside_others(analysis: Analysis) -> list[JoinedTable]:
    return [table for table in analysis.tables if not of_itself(table)]


def _pairs_of(table: JoinedTable, analysis: Analysis) -> list[Pair]:
    key = (table.connector_task, table.score_task)
    return [pair for pair in analysis.pairs if (pair.connector_task, pair.score_task) == key]


def _count(pairs: list[Pair]) -> str:
    significant = sorted(
        (pair for pair in pairs if pair.spearman.significant),
        key=lambda pair: -abs(pair.spearman.score.value),
    )
    text = (
        f"Rank correlations between a loss and a score: {len(significant)} of {len(pairs)} are significant after "
        "correction for their number"
    )
    named = [
        f"“{loss_named(pair.loss)}” with {pair.score} {interval(pair.spearman.score)}"
        for pair in significant[:MOST]
    ]
    text = f"{text}, most of all {'; '.join(named)}" if named else text
    held = [pair.partial.correlation for pair in pairs if pair.partial is not None]
    beside = (
        f"; with other properties held fixed {sum(one.significant for one in held)} of {len(held)}"
        if held
        else ""
    )
    return f"{text}{beside}."


def _prediction(main: Pair, found: Prediction) -> str:
    auroc = found.auroc
    figures = f"AUROC {interval(auroc.score)}, chance 0.5, over {main.documents:,} documents"
    if not auroc.significant:
        simpler = _named([one for one in found.baselines if one.auroc.significant])
        beside = f" A simpler property does: {simpler}." if simpler else ""
        return f"“{loss_named(main.loss)}” does not tell failures from successes: {figures}, not significant.{beside}"
    if auroc.score.value < 0.5:
        return f"The higher “{loss_named(main.loss)}”, the fewer failures: {figures}."
    text = f"The higher “{loss_named(main.loss)}”, the more failures: {figures}"
    if not found.baselines:
        return f"{text}."
    equal = _named([one for one in found.baselines if not _beaten(one)])
    return f"{text}; " + (f"not shown to be better than {equal}." if equal else "better than every baseline.")


def _beaten(baseline: BaselinePrediction) -> bool:
    return baseline.advantage.significant and baseline.advantage.score.value > 0


def _named(baselines: list[BaselinePrediction]) -> str:
    return ", ".join(f"{label_of(one.name)} ({number(one.auroc.score.value)})" for one in baselines)
