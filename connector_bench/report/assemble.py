"""From one model's results to the report's contents: title, summary and sections, still without HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from connector_bench.association.analysis import analyze_runs
from connector_bench.report.association import association_section
from connector_bench.report.association_findings import association_findings, association_key
from connector_bench.report.blocks import Finding, KeyFigure, Section
from connector_bench.report.chart import Chart
from connector_bench.report.gallery_values import Gallery, PictureCard
from connector_bench.report.images import images_section
from connector_bench.report.preservation import preservation_section
from connector_bench.report.preservation_findings import preservation_findings, preservation_key
from connector_bench.report.provenance import limit_argument, provenance_section
from connector_bench.report.reconstruction import reconstruction_section
from connector_bench.report.reconstruction_findings import reconstruction_findings, reconstruction_key
from connector_bench.report.stage_findings import stage_findings, stage_key, stage_section
from connector_bench.report.task_table import task_key, tasks_section
from connector_bench.results.harness_files import UnusableResult
from connector_bench.results.models import ModelRuns
from connector_bench.results.tasks import PRESERVATION, RECONSTRUCTION, STAGES, TaskRun


@dataclass(frozen=True)
class Report:
    """Everything on the page, in its order."""

    title: str
    subtitle: str
    key_figures: tuple[KeyFigure, ...]
    findings: tuple[Finding, ...]
    sections: tuple[Section, ...]

    @property
    def charts(self) -> tuple[Chart, ...]:
        """All charts, in the page's order."""
        return tuple(
            block for section in self.sections for block in section.blocks if isinstance(block, Chart)
        )

    @property
    def cards(self) -> tuple[PictureCard, ...]:
        """All pictures with their questions."""
        galleries = (
            block for section in self.sections for block in section.blocks if isinstance(block, Gallery)
        )
        return tuple(card for gallery in galleries for card in gallery.cards)


MEASURES = {
    PRESERVATION: (preservation_key, preservation_findings, preservation_section),
    RECONSTRUCTION: (reconstruction_key, reconstruction_findings, reconstruction_section),
    STAGES: (stage_key, stage_findings, stage_section),
}
"""What is told of a task, in the page's order: its number on top, its lines of the summary, its section."""


UNMEASURED = {
    PRESERVATION: "How far images keep their nearest neighbours",
    RECONSTRUCTION: "How much of the encoder's patches can be rebuilt, and where not",
}


@dataclass(frozen=True)
class _ReportPart:
    key: Sequence[KeyFigure]
    findings: Sequence[Finding]
    sections: Sequence[Section]


def assemble(results: ModelRuns) -> Report:
    """What the page says of one model's results, whichever tasks were run.

    Raises UnusableResult naming file and task where a record or a sample file does not hold what it should.
    """
    parts = [
        _ReportPart([], _warnings(results), []),
        *_measures(results),
        _tasks(results),
        _association(results),
        _ReportPart(
            [], [Finding("What this does not show", _limits(results))], [provenance_section(results)]
        ),
    ]
    return Report(
        title=results.model,
        subtitle=_subtitle(results),
        key_figures=tuple(figure for part in parts for figure in part.key),
        findings=tuple(finding for part in parts for finding in part.findings),
        sections=tuple(section for part in parts for section in part.sections),
    )


def _measures(results: ModelRuns) -> Iterator[_ReportPart]:
    for measure, (key, findings, section) in MEASURES.items():
        alike = results.of(measure)
        for task in alike:
            suffix = f" ({task.name})" if len(alike) > 1 else ""
            with _named(task):
                yield _ReportPart(key(task), findings(task, suffix), [section(task, suffix)])


def _tasks(results: ModelRuns) -> _ReportPart:
    ordinary = results.of(None)
    return _ReportPart(
        [figure for task in ordinary for figure in task_key(task)], [], [tasks_section(ordinary)]
    )


def _association(results: ModelRuns) -> _ReportPart:
    analysis = analyze_runs(results.files)
    sections = [association_section(analysis), images_section(results, analysis)]
    return _ReportPart(association_key(analysis), association_findings(analysis), sections)


@contextmanager
def _named(task: TaskRun) -> Iterator[None]:
    try:
        yield
    except UnusableResult:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UnusableResult(f"{task.file.path}: {task.name}: {type(error).__name__}: {error}") from error


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
    return (
        f"Connector {connector['connector']} ({connector['family']}), {connector['parameters']:,} parameters"
    )


def _warnings(results: ModelRuns) -> list[Finding]:
    found = [Finding(f"{task} failed", why, "warning") for task, why in results.failed.items()]
    for file in results.files:
        for task, done in file.interventions.items():
            text = f"The connector's tokens were changed while the model answered {task}: {done['said']}."
            found.append(Finding("Answers that are not the model's own", text, "warning"))
        if limit := limit_argument(file):
            text = f"The run had{limit}: its figures are of a part of the data and compare with no others."
            found.append(Finding("A part of the data", text, "warning"))
    found += [
        Finding("Not measured", f"{what}; run lmms-eval with --tasks {measure} as well.", "missing")
        for measure, what in UNMEASURED.items()
        if not results.of(measure)
    ]
    return found
