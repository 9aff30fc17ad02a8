"""The report's section on patch reconstruction: what no probe could rebuild."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connector_bench.metrics import control, label_of, meanings, named
from connector_bench.number_style import number
from connector_bench.report.blocks import (
    SCORE_COLUMNS,
    Block,
    Prose,
    ReportTable,
    Section,
    TableCell,
    cell_of,
    score_cells,
)
from connector_bench.report.chart import WIDE, Chart
from connector_bench.report.estimates import interval
from connector_bench.report.reconstruction_charts import LOWEST_R2, LadderChart, Learning, Series
from connector_bench.results.tasks import TaskRun
from connector_bench.stats.intervals import Score

PROBES = ("pooled", "ridge", "mlp", "attention")
"""The ladder, simplest first, above the training mean, whose R2 is 0 by definition."""
SIZES = {"parameters": "parameters of the probe", "patches_seen": "patches it saw in training"}


def ladder(scores: Mapping[str, Score]) -> dict[str, dict[str, Score]]:
    """R2 by control (the connector itself is `""`) and probe, simplest probe first."""
    found: dict[str, dict[str, Score]] = {}
    for probe in PROBES:
        for entry in named(list(scores)):
            if entry.base == f"r2_{probe}":
                control = "" if entry.control is None else entry.control.key
                found.setdefault(control, {})[probe] = scores[entry.name]
    return found


def reconstruction_section(task: TaskRun, suffix: str = "") -> Section:
    """Charts and tables of one task, those that its record allows."""
    blocks: list[Block] = [Prose(_method(task))]
    rungs = ladder(task.scores)
    if rungs:
        blocks += [_ladder_chart(task, rungs), _ladder_table(task, rungs)]
    blocks += _learning(task)
    blocks += _figures_table(task)
    return Section(task.anchor, f"Patches{suffix}", f"Patches rebuilt: {task.name}", tuple(blocks))


def _method(task: TaskRun) -> str:
    trained = task.record.get("train_images")
    images = f"{trained:,} other images" if isinstance(trained, int) else "other images"
    return (
        f"Probes learn on {images} to rebuild the encoder's patch embeddings from the connector's tokens, and are "
        f"scored on {task.record['n_images']:,} images that none of them has seen. What no probe rebuilds is called "
        "lost. It is an upper bound on the loss: a better probe may rebuild more."
    )


def _label(key: str) -> tuple[str, str]:
    """What a series is called, and the theme's colour for its kind."""
    found = control(key)
    return ("this connector", "model") if found is None else (found.label, found.kind)


def _ladder_chart(task: TaskRun, rungs: Mapping[str, Mapping[str, Score]]) -> Chart:
    probes = [probe for probe in PROBES if any(probe in found for found in rungs.values())]
    drawn = LadderChart(probes, [Series(*_label(control), found) for control, found in rungs.items()])
    own = rungs.get("", {})
    first = next(iter(next(iter(rungs.values())).values()))
    cut = f" Values below {number(LOWEST_R2)} lie left of the axis; the table has them." if drawn.cut else ""
    return Chart(
        name=f"{task.anchor}-ladder",
        title="Probe ladder and controls",
        shows=(
            f"R² = 1 − SSE / SST on N = {first.n:,} test images, SST about the training mean; the simplest probe is on "
            f"top. Bars: {first.method}; a bar shorter than its mark is hidden by it. Identity and rotation must reach "
            f"1, shuffled pairs stay at 0.{cut}"
        ),
        alt="Dot chart. This connector: "
        + "; ".join(f"{name} {interval(score)}" for name, score in own.items())
        + ".",
        draw=drawn.draw,
        inches=(WIDE, 1.9 + 0.62 * len(probes)),
    )


def _ladder_table(task: TaskRun, rungs: Mapping[str, Mapping[str, Score]]) -> ReportTable:
    probes = [probe for probe in PROBES if any(probe in found for found in rungs.values())]
    rows = [
        (TableCell(_label(control)[0]), *(cell_of(found.get(probe)) for probe in probes))
        for control, found in rungs.items()
    ]
    closed: Mapping[str, float] = (task.record.get("controls") or {}).get("closed_form_r2") or {}
    rows += [
        (TableCell(f"{_label(control)[0]}, best linear R² in closed form"), *_closed_form(r2, probes))
        for control, r2 in closed.items()
        if control in rungs and r2 < 1
    ]
    details: Mapping[str, Any] = task.record.get("probes") or {}
    for key, label in SIZES.items():
        sizes = [details.get(probe, {}).get(key) for probe in probes]
        if any(size is not None for size in sizes):
            rows.append(
                (TableCell(label), *(TableCell("–" if size is None else f"{size:,}", size) for size in sizes))
            )
    return ReportTable(
        name=f"{task.anchor}-ladder-table",
        title="R² of every probe",
        shows="With 95 % intervals. The same ladder, budget and seeds for every model.",
        columns=("what", *probes),
        rows=tuple(rows),
    )


def _closed_form(r2: float, probes: Sequence[str]) -> Iterator[TableCell]:
    return (TableCell(number(r2), r2) if probe == "ridge" else TableCell("–") for probe in probes)


def _learning(task: TaskRun) -> list[Block]:
    curve = task.record.get("learning_curve")
    if not curve:
        return []
    best = str(task.record.get("best_probe") or curve.get("best", ""))
    total = task.record.get("train_images") or 1
    images = [fraction * total for fraction in curve["fractions"]]
    by_probe = {
        probe: curve["r2"][probe]
        for probe in PROBES
        if probe in curve["r2"] and None not in curve["r2"][probe]
    }
    helps = more_data(task)
    if not by_probe:  # too few images chose for a curve
        return [Prose(helps, "warning")]
    said = "; ".join(
        f"{probe} from {number(values[0])} to {number(values[-1])}" for probe, values in by_probe.items()
    )
    chart = Chart(
        name=f"{task.anchor}-learning",
        title="Learning curve",
        shows="R² on validation images, which trained no probe, at shares of the training images; one fit each. "
        + helps,
        alt=f"Line chart. {said}. {helps}",
        draw=Learning(images, by_probe, best).draw,
        inches=(WIDE, 3.6),
    )
    return [chart, Prose(helps, "warning")] if task.record.get("more_data_helps") else [chart]


def more_data(task: TaskRun) -> str:
    """What the learning curve says of the training images: enough, or not."""
    helps = task.record.get("more_data_helps")
    if helps is None:
        return "Whether more training images would help was not measured."
    if helps:
        return (
            "More data helps: the best probe still gained from half to all of the training images, so that part of "
            "what is called lost is only not learned yet."
        )
    return "More data does not help: from half to all of the training images the best probe gained next to nothing."


def _figures_table(task: TaskRun) -> list[Block]:
    rows = tuple(
        (TableCell(label_of(name)), *score_cells(task.scores[name]), TableCell(meaning))
        for name, meaning in meanings("patch_reconstruction", "probe", "size", "error", "answer")
        if name in task.scores and name.removeprefix("r2_") not in PROBES
    )
    columns = ("figure", *SCORE_COLUMNS, "what it is")
    title = "Figures of the best probe"
    best = task.record.get("best_probe")
    shows = f"Best on the validation images, chosen before any test image was seen: {best}." if best else ""
    return [ReportTable(f"{task.anchor}-figures", title, shows, columns, rows)] if rows else []
