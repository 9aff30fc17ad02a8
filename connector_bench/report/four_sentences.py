"""The report's first screen: how much is lost, what size alone costs, where neighbours went, and who is to blame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connector_bench.metrics import HEADLINE_K, Measure
from connector_bench.number_style import number
from connector_bench.report.beyond_overlap import moved, reference_of, shows_content
from connector_bench.report.blocks import Finding
from connector_bench.report.estimates import change, has_interval, interval, without_interval
from connector_bench.report.overlap_table import headline_k, overlaps
from connector_bench.report.reconstruction_findings import size_sentence
from connector_bench.report.shared import label_column
from connector_bench.report.stage_findings import CONNECTOR, MODEL, WHERE, blamed, kinds_of
from connector_bench.results.models import ModelRuns
from connector_bench.results.tasks import PRESERVATION, RECONSTRUCTION, STAGES, TaskRun
from connector_bench.stats.intervals import Score

LOST = "How much is lost?"
SIZE = "How much must a connector of this size lose?"
NEIGHBOURS = "Did neighbours move for the better?"
BLAME = "Behind the encoder, is the connector to blame, or the language model?"
QUESTIONS = (LOST, SIZE, NEIGHBOURS, BLAME)


def four_sentences(results: ModelRuns) -> tuple[Finding, ...]:
    """One sentence with its interval for each of `QUESTIONS`; one that was not measured says how it would be."""
    patches = main_task(results, RECONSTRUCTION)
    return (
        _lost(patches),
        _size(patches),
        _neighbours(main_task(results, PRESERVATION)),
        _blame(main_task(results, STAGES)),
    )


def main_task(results: ModelRuns, measure: Measure) -> TaskRun | None:
    """The task that stands for a measure: the one of its name, else the first; None where none was run."""
    tasks = results.of(measure)
    return next((task for task in tasks if task.name == measure), tasks[0] if tasks else None)


def _missing(question: str, measure: str, beside: str = "") -> Finding:
    return Finding(question, f"Not measured: run lmms-eval with --tasks {measure}{beside}.", "missing")


def _lost(task: TaskRun | None) -> Finding:
    lost = None if task is None else task.scores.get("lost")
    if task is None or lost is None:
        return _missing(LOST, RECONSTRUCTION)
    best = task.record.get("best_probe")
    probe = f"the best probe ({best})" if best else "the best probe"
    return Finding(
        LOST,
        f"{interval(lost)} of the variance of the encoder's patches: {probe} does not rebuild it from the connector's "
        f"tokens, on {lost.n:,} images that it was not fitted on{_bound(lost)}.",
    )


def _bound(lost: Score) -> str:
    return ", and would rebuild more if it had learnt from more images" if lost.sign else ""


def _size(task: TaskRun | None) -> Finding:
    if task is None or "lost" not in task.scores:
        return _missing(SIZE, RECONSTRUCTION)
    if said := size_sentence(task.scores):
        return Finding(SIZE, said)
    return Finding(SIZE, "Not known: this run recorded no loss of a linear connector of its size.", "missing")


def _neighbours(task: TaskRun | None) -> Finding:
    kept = {} if task is None else overlaps(task.scores)
    if task is None or not kept:
        return _missing(NEIGHBOURS, PRESERVATION)
    k = headline_k(kept)
    beside = (
        f"; of the encoder's own {k} nearest {interval(kept[k])} are kept (chance {number(kept[k].chance)})"
    )
    gain, shared = task.scores.get(f"gain_{HEADLINE_K}"), task.scores.get("purity_diff")
    if gain is not None and has_interval(gain):
        before, after = (task.scores.get(f"agreement_{side}_{HEADLINE_K}") for side in ("pre", "post"))
        space = "what the images show" if shows_content(task) else reference_of(task) or "the reference"
        return Finding(
            NEIGHBOURS, f"{VERDICTS[moved(gain)]} {space}: {_change(gain, before, after)}{beside}."
        )
    if shared is not None and has_interval(shared):
        before, after = (task.scores.get(f"purity_{side}") for side in ("pre", "post"))
        towards = f"{VERDICTS[moved(shared)]} images of the same {label_column(task)}"
        text = f"{towards}: {_change(shared, before, after)}{beside}."
        return Finding(NEIGHBOURS, text)
    if (untold := gain or shared) is not None:
        text = f"Not told, since {without_interval(untold)}: {change(untold)} of the {HEADLINE_K} nearest{beside}."
        return Finding(NEIGHBOURS, text, "missing")
    return Finding(
        NEIGHBOURS, f"Not known, since nothing says what neighbours should share{beside}.", "missing"
    )


VERDICTS = {
    1: "Yes, towards",
    -1: "No, away from",
    0: "Not shown, neither towards nor away from",
}


def _change(moved_by: Score, before: Score | None, after: Score | None) -> str:
    text = f"{change(moved_by)} of the {HEADLINE_K} nearest"
    if before is None or after is None:
        return text
    chance = "" if before.chance is None or before.chance else " beyond chance"
    return f"{text}, from {number(before.value)} to {number(after.value)}{chance}"


def _blame(task: TaskRun | None) -> Finding:
    kinds = [] if task is None else kinds_of(task)
    if task is None or not kinds:
        return _missing(BLAME, STAGES, ",scenes_vqa")
    by_verdict: dict[str, list[str]] = {}
    for kind in kinds:
        by_verdict.setdefault(blamed(task, kind), []).append(kind)
    said = [f"{verdict} for questions of {_listed(task, of)}" for verdict, of in by_verdict.items()]
    text = "; ".join(said)
    both = any(MODEL.format(kind=kind) in task.scores for kind in kinds)
    unknown = "" if both else " What the language model misses was not measured."
    return Finding(
        BLAME, f"{text[0].upper()}{text[1:]}. In brackets: the share of answers that each loses.{unknown}"
    )


def _listed(task: TaskRun, kinds: Sequence[str]) -> str:
    return ", ".join(f"{kind} ({_losses(task.scores, kind)})" for kind in kinds)


def _losses(scores: Mapping[str, Score], kind: str) -> str:
    names = {name.format(kind=kind): WHERE[name].removeprefix("the ") for name in (CONNECTOR, MODEL)}
    return ", ".join(f"{who} {interval(scores[name])}" for name, who in names.items() if name in scores)
