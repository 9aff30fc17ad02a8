"""From one model's results to the report's contents: title, four sentences and sections, still without HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from connector_bench.association.analysis import analyze_runs
from connector_bench.metrics import Measure
from connector_bench.report.arranging import arranged
from connector_bench.report.association import association_section
from connector_bench.report.association_findings import association_findings
from connector_bench.report.blocks import Block, Finding, Folded, Prose, Section, flat
from connector_bench.report.chart import Chart
from connector_bench.report.four_sentences import four_sentences, main_task
from connector_bench.report.gallery_values import Gallery, PictureCard
from connector_bench.report.images import images_section
from connector_bench.report.preservation import preservation_section
from connector_bench.report.preservation_findings import preservation_findings
from connector_bench.report.provenance import limit_argument, provenance_section
from connector_bench.report.reconstruction import reconstruction_section
from connector_bench.report.reconstruction_findings import reconstruction_findings
from connector_bench.report.stage_findings import stage_findings, stage_section
from connector_bench.report.task_table import tasks_section
from connector_bench.results.harness_files import UnusableResult
from connector_bench.results.models import ModelRuns
from connector_bench.results.tasks import PRESERVATION, RECONSTRUCTION, STAGES, TaskRun

Tell = Callable[[TaskRun, str], list[Finding]]
Show = Callable[[TaskRun, str], Section]


@dataclass(frozen=True)
class Report:
    """Everything on the page, in its order."""

    title: str
    subtitle: str
    sentences: tuple[Finding, ...]
    """What a reader asks first; empty where several models stand side by side."""
    typical: PictureCard | None
    """The picture whose loss is nearest the mean, which the first screen shows; None where there are none."""
    warnings: tuple[Finding, ...]
    summary: tuple[Block, ...]
    """What else the first section shows."""
    sections: tuple[Section, ...]

    @property
    def blocks(self) -> Iterator[Block]:
        """All blocks, folded ones too, in the page's order."""
        yield from flat(self.summary)
        for section in self.sections:
            yield from flat(section.blocks)

    @property
    def charts(self) -> tuple[Chart, ...]:
        """All charts, in the page's order."""
        return tuple(block for block in self.blocks if isinstance(block, Chart))

    @property
    def cards(self) -> tuple[PictureCard, ...]:
        """All pictures with their questions."""
        return tuple(card for block in self.blocks if isinstance(block, Gallery) for card in block.cards)


MEASURES: dict[Measure, tuple[Tell, Show]] = {
    PRESERVATION: (preservation_findings, preservation_section),
    RECONSTRUCTION: (reconstruction_findings, reconstruction_section),
    STAGES: (stage_findings, stage_section),
}
"""What is told of a task, in the page's order: its sentences and its section."""


@dataclass(frozen=True)
class _ReportPart:
    findings: Sequence[Finding]
    sections: Sequence[Section]


def assemble(results: ModelRuns) -> Report:
    """What the page says of one model's results, whichever tasks were run.

    Raises UnusableResult naming file and task where a record or a sample file does not hold what it should.
    """
    sentences = _sentences(results)
    parts = [*_measures(results), *_association(results)]
    sections = [section for part in parts for section in part.sections]
    warnings = [
        *assemble_warnings(results),
        *(f for part in parts for f in part.findings if f.tone == "warning"),
    ]
    return Report(
        title=results.model,
        subtitle=_subtitle(results),
        sentences=sentences,
        typical=_typical(results, sections),
        warnings=tuple(warnings),
        summary=(Folded("What this does not show", (Prose(_limits(results)),)),),
        sections=(*sections, provenance_section(results)),
    )


def _sentences(results: ModelRuns) -> tuple[Finding, ...]:
    with named_tasks(*results.tasks):
        return four_sentences(results)


def _measures(results: ModelRuns) -> Iterator[_ReportPart]:
    """Of several tasks of a measure the one of the four sentences is open, the others are asked for."""
    for measure, (findings, section) in MEASURES.items():
        main = main_task(results, measure)
        alike = sorted(results.of(measure), key=lambda task: task is not main)
        for task in alike:
            suffix = f" ({task.name})" if len(alike) > 1 else ""
            with named_tasks(task):
                said, made = findings(task, suffix), section(task, suffix)
                blocks = arranged(said, [_drawn_within(task, block) for block in made.blocks])
                folded = "" if task is main else f"Figures of {task.name}"
                yield _ReportPart(said, [replace(made, blocks=blocks, folded=folded)])


def _drawn_within(task: TaskRun, block: Block) -> Block:
    return replace(block, within=partial(named_tasks, task)) if isinstance(block, Chart) else block


def _association(results: ModelRuns) -> Iterator[_ReportPart]:
    yield _ReportPart([], [tasks_section(results.of(None))])
    analysis = analyze_runs(results.files)
    said, section = association_findings(analysis), association_section(analysis)
    yield _ReportPart(said, [replace(section, blocks=arranged(said, section.blocks))])
    yield _ReportPart([], [images_section(results, analysis)])


def _typical(results: ModelRuns, sections: Sequence[Section]) -> PictureCard | None:
    task = main_task(results, RECONSTRUCTION)
    lost = None if task is None else task.scores.get("lost")
    galleries = [block for section in sections for block in section.blocks if isinstance(block, Gallery)]
    drawn = [c for gallery in galleries for c in gallery.cards if c.picture and "loss" in c.figures]
    if lost is None or not drawn:
        return None
    return min(drawn, key=lambda card: abs(card.figures["loss"] - lost.value))


@contextmanager
def named_tasks(*tasks: TaskRun) -> Iterator[None]:
    """A record that makes no sense ends in UnusableResult that names file and task."""
    try:
        yield
    except UnusableResult:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        where = "; ".join(f"{task.file.path}: {task.name}" for task in tasks)
        raise UnusableResult(f"{where}: {type(error).__name__}: {error}") from error


def _limits(results: ModelRuns) -> str:
    said = []
    if results.of(PRESERVATION):
        said.append(
            "Neighbour overlap describes how pooled image vectors lie to each other, not how much they hold: a "
            "language model can read what has only moved."
        )
    if results.of(RECONSTRUCTION):
        said.append(
            "What no probe rebuilds may still be there for a stronger one, and what is rebuilt need not be of use to "
            "the language model."
        )
    if results.of(STAGES):
        said.append("What no reader of stages answers may still be there for a stronger one.")
    said.append("All figures are of these images and of this checkpoint.")
    return " ".join(said)


def _subtitle(results: ModelRuns) -> str:
    connector = results.connector
    if connector is None:
        return "No task of connector_bench ran, so the connector was not measured."
    said = (
        f"Connector {connector['connector']} ({connector['family']}), {connector['parameters']:,} parameters"
    )
    return f"{said}, {tokens}" if (tokens := _tokens(results)) else said


def _tokens(results: ModelRuns) -> str:
    """`196 to 32 tokens an image`, ranges where images differ."""
    runs = [task for measure in (RECONSTRUCTION, PRESERVATION) for task in results.of(measure)]
    counts = next((found for task in runs if (found := task.record.get("tokens_per_image"))), None)
    if not counts:
        return ""
    pre, post = (
        f"{low:,}" if low == high else f"{low:,}–{high:,}" for low, high in (counts["pre"], counts["post"])
    )
    return f"{pre} to {post} tokens an image"


def assemble_warnings(results: ModelRuns) -> list[Finding]:
    """What a reader must know of the runs before any figure."""
    found = [Finding(f"{task} failed", why, "warning") for task, why in results.failed.items()]
    for file in results.files:
        for task, done in file.interventions.items():
            text = f"The connector's tokens were changed while the model answered {task}: {done['said']}."
            found.append(Finding("Answers that are not the model's own", text, "warning"))
        if limit := limit_argument(file):
            text = f"The run had{limit}: its figures are of a part of the data and compare with no others."
            found.append(Finding("A part of the data", text, "warning"))
    return found
