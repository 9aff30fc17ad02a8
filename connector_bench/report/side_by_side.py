"""Several models on one page: the same figures in one table, the same questions, the same pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from connector_bench.headlines import SIDE_BY_SIDE, STAGE_LOSSES
from connector_bench.metrics import Measure, label_of
from connector_bench.report.assemble import Report, assemble_warnings, named_tasks
from connector_bench.report.blocks import (
    Block,
    Finding,
    Findings,
    Prose,
    ReportTable,
    Section,
    TableCell,
    cell_of,
)
from connector_bench.report.four_sentences import QUESTIONS, four_sentences, main_task
from connector_bench.report.provenance import provenance_section
from connector_bench.report.same_pictures import same_pictures
from connector_bench.report.stage_findings import kinds_of
from connector_bench.report.task_table import shown
from connector_bench.results.conditions import conditions_of, differing
from connector_bench.results.models import ModelRuns
from connector_bench.results.tasks import PRESERVATION, RECONSTRUCTION, STAGES, TaskRun


def assemble_side_by_side(models: Sequence[ModelRuns]) -> Report:
    """What the page says of several models, whichever tasks were run of each.

    Raises UnusableResult as `assemble`.
    """
    names = short_names([one.model for one in models])
    by_name = dict(zip(names, models, strict=True))
    with named_tasks(*(task for one in models for task in one.tasks)):
        table, apart = _figures(by_name)
        said = {name: four_sentences(one) for name, one in by_name.items()}
    warnings = [
        Finding(f"{name}: {warning.about}", warning.text, warning.tone)
        for name, one in by_name.items()
        for warning in assemble_warnings(one)
    ]
    sections = [
        Section(
            f"question-{number}",
            label,
            question,
            (Findings(tuple(Finding(name, of[number].text, of[number].tone) for name, of in said.items())),),
        )
        for number, (label, question) in enumerate(zip(LABELS, QUESTIONS, strict=True))
    ]
    sections.append(Section("section-pictures", "Pictures", "The same pictures", tuple(_pictures(by_name))))
    sections += [_provenance(name, number, one) for number, (name, one) in enumerate(by_name.items())]
    return Report(
        title=", ".join(names),
        subtitle=f"{len(models)} models side by side",
        sentences=(),
        typical=None,
        warnings=(*warnings, *apart),
        summary=(table,),
        sections=tuple(sections),
    )


LABELS = ("Lost", "Size", "Neighbours", "To blame")


def short_names(names: Sequence[str]) -> list[str]:
    """The names without the folder that all of them share."""
    folders = {name.rpartition("/")[0] for name in names}
    return [name.rpartition("/")[2] for name in names] if len(folders) == 1 else list(names)


def _figures(models: Mapping[str, ModelRuns]) -> tuple[ReportTable, list[Finding]]:
    rows: list[tuple[TableCell, ...]] = []
    apart: list[Finding] = []
    for measure in (RECONSTRUCTION, PRESERVATION, STAGES):
        tasks = {name: main_task(one, measure) for name, one in models.items()}
        known = {name: task for name, task in tasks.items() if task is not None}
        if len(known) > 1:
            apart += _not_comparable(known)
        rows += [
            (
                TableCell(label_of(metric)),
                *(cell_of(None if t is None else t.scores.get(metric)) for t in tasks.values()),
            )
            for metric in _metrics(measure, known)
        ]
    rows += list(_answers(models))
    return (
        ReportTable(
            "section-figures",
            "Figures",
            "With 95 % intervals. Two that meet may still differ when paired, which connector-bench compare tells.",
            ("figure", *models),
            tuple(rows),
        ),
        apart,
    )


def _metrics(measure: Measure, tasks: Mapping[str, TaskRun]) -> list[str]:
    if measure == STAGES:
        kinds = dict.fromkeys(kind for task in tasks.values() for kind in kinds_of(task))
        names = [name.format(kind=kind) for kind in kinds for name in STAGE_LOSSES[1:]]
    else:
        names = list(SIDE_BY_SIDE[measure])
    return [name for name in names if any(name in task.scores for task in tasks.values())]


def _answers(models: Mapping[str, ModelRuns]) -> Iterator[tuple[TableCell, ...]]:
    """The first metric of every ordinary task."""
    tasks = dict.fromkeys(task.name for one in models.values() for task in one.of(None))
    for name in tasks:
        found = [next((t for t in one.of(None) if t.name == name), None) for one in models.values()]
        first = next((task.metrics[0].name for task in found if task is not None and task.metrics), None)
        if first is None:
            continue
        cells = []
        for task in found:
            metric = next((m for m in task.metrics if m.name == first), None) if task else None
            cells.append(TableCell("–") if metric is None else TableCell(shown(metric), metric.value))
        yield (TableCell(f"{first}, {name}"), *cells)


def _not_comparable(tasks: Mapping[str, TaskRun]) -> Iterator[Finding]:
    """A warning for each model whose figures of a measure do not compare with the first one's."""
    (first, one), *others = tasks.items()
    for name, other in others:
        what = [
            f"{key}: {a} against {b}" for key, (a, b) in differing(_measured(one), _measured(other)).items()
        ]
        if what:
            text = f"{first} and {name} were not measured alike, so their figures do not compare: {'; '.join(what)}."
            yield Finding(f"{one.name}", text, "warning")


def _measured(task: TaskRun) -> dict[str, object]:
    return {
        "task": task.name,
        "images": task.n,
        "hash of the images": task.record.get("images_sha256"),
        **conditions_of(task),
    }


def _pictures(models: Mapping[str, ModelRuns]) -> list[Block]:
    tasks = {name: main_task(one, RECONSTRUCTION) for name, one in models.items()}
    known = {name: task for name, task in tasks.items() if task is not None}
    if len(known) < len(tasks):
        absent = ", ".join(name for name in tasks if name not in known)
        return [Prose(f"No pictures: patch_reconstruction did not run for {absent}.", "missing")]
    return same_pictures(known)


def _provenance(name: str, number: int, model: ModelRuns) -> Section:
    section = provenance_section(model, f"-{number}")
    return Section(section.name, name, f"Provenance of {name}", section.blocks, section.folded)
