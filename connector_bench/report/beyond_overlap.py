"""What the report tells beside the overlap: gain against a reference, smaller and larger galleries, the words' side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from connector_bench.metrics import HEADLINE_K, Family, Metric, named
from connector_bench.number_style import number
from connector_bench.report import marks
from connector_bench.report.blocks import (
    SCORE_COLUMNS,
    Block,
    Finding,
    ReportTable,
    TableCell,
    cell_of,
    score_cells,
)
from connector_bench.report.chart import WIDE, Chart
from connector_bench.report.estimates import apart, change, has_interval, interval, without_interval
from connector_bench.report.theme import Theme
from connector_bench.results.tasks import TaskRun
from connector_bench.stats.intervals import Score

TABLES: dict[Family, tuple[str, str]] = {
    "reference": (
        "Against an independent space",
        "Neighbours in the reference that are neighbours before the connector, and after it, with chance taken off. "
        "Gain is the difference; its interval is of the paired difference.",
    ),
    "text": (
        "Beside the language model's words",
        "A sample of tokens held against the input embeddings of a sample of words; the language model does not run. "
        "Effective ranks grow with the sample.",
    ),
}


@dataclass(frozen=True)
class GalleryChart:
    """Overlap over the number of images, with k fixed and with k a fixed share, and where the trend leads."""

    fixed: Sequence[tuple[int, Score]]
    shared: Sequence[tuple[int, Score]]
    extrapolated: tuple[int, Score] | None

    def draw(self, figure: Figure, theme: Theme) -> None:
        """Draw onto an empty figure."""
        axes = figure.subplots()
        look = {"marker": "o", "color": theme.model, "label": f"k = {HEADLINE_K}"}
        marks.upright(axes, [n for n, _ in self.fixed], [s for _, s in self.fixed], **look)
        if self.shared:
            look = {"marker": "s", "color": theme.random, "linestyle": "--", "label": "k = 1 % of the images"}
            marks.upright(axes, [n for n, _ in self.shared], [s for _, s in self.shared], **look)
        if self.extrapolated is not None:
            n, score = self.extrapolated
            axes.plot(
                [self.fixed[-1][0], n],
                [self.fixed[-1][1].value, score.value],
                color=theme.model,
                linestyle=":",
            )
            look = {
                "marker": "D",
                "color": theme.model,
                "linestyle": "none",
                "mfc": "none",
                "label": "extrapolated",
            }
            marks.upright(axes, [n], [score], **look)
        axes.set(xscale="log", xlabel="images in the gallery", ylabel="neighbours kept beyond chance")
        sizes = sorted(
            {n for n, _ in (*self.fixed, *self.shared)}
            | ({self.extrapolated[0]} if self.extrapolated else set())
        )
        axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        marks.legend(figure)


def further_blocks(task: TaskRun) -> list[Block]:
    """Tables and the chart that the record allows."""
    blocks: list[Block] = []
    blocks += _reference_table(task)
    blocks += _curve(task)
    blocks += _text_table(task)
    return blocks


def _reference_table(task: TaskRun) -> list[Block]:
    """One row a figure and each of its controls, one column a k; a figure is explained where it is the connector's."""
    found: dict[str, dict[int, Metric]] = {}
    for entry in _entries(task, "reference"):
        assert entry.k is not None, f"{entry.name}: every figure against a reference has its k"
        found.setdefault(_row_name(entry).removesuffix(f", k = {entry.k}"), {})[entry.k] = entry
    if not found:
        return []
    title, shows = TABLES["reference"]
    if name := reference_of(task):
        shows = f"{shows} Reference: {name}."
    ks = sorted({k for by_k in found.values() for k in by_k})
    rows = []
    for name, by_k in found.items():
        scores = {k: task.scores[entry.name] for k, entry in by_k.items()}
        first = next(iter(by_k.values()))
        n = next(iter(scores.values())).n
        meaning = first.meaning if first.control is None else ""
        cells = (cell_of(scores.get(k)) for k in ks)
        rows.append((TableCell(name), *cells, TableCell(f"{n:,}", n), TableCell(meaning)))
    columns = ("figure", *(f"k = {k}" for k in ks), "N", "what it is")
    return [ReportTable(f"{task.anchor}-reference", title, shows, columns, tuple(rows))]


def _text_table(task: TaskRun) -> list[Block]:
    rows = tuple(
        (TableCell(_row_name(entry)), *score_cells(task.scores[entry.name]), TableCell(entry.meaning))
        for entry in _entries(task, "text")
    )
    title, shows = TABLES["text"]
    columns = ("figure", *SCORE_COLUMNS, "what it is")
    return [ReportTable(f"{task.anchor}-text", title, shows, columns, rows)] if rows else []


def _entries(task: TaskRun, family: Family) -> list[Metric]:
    return [entry for entry in named(list(task.scores)) if entry.family == family]


def _row_name(entry: Metric) -> str:
    return entry.label if entry.control is None else f"{entry.control.label}: {entry.label}"


def reference_of(task: TaskRun) -> str:
    """What the record calls the space that neighbourhoods are held against; empty where there is none."""
    return str((task.record.get("options") or {}).get("reference") or "")


def shows_content(task: TaskRun) -> bool:
    """Whether that space is what the task says that its images show."""
    return reference_of(task).startswith("content ")


def _curve(task: TaskRun) -> Iterator[Block]:
    curve = task.record.get("gallery_curve")
    if not isinstance(curve, Mapping) or not curve.get("fixed_k"):
        return
    fixed, shared = (_points(curve.get(part) or []) for part in ("fixed_k", "fixed_share"))
    tenfold = task.scores.get(f"knor_adj_{HEADLINE_K}_tenfold")
    at = (curve.get("fit") or {}).get("at")
    extrapolated = None if tenfold is None or at is None else (int(at), tenfold)
    said = "; ".join(f"{n:,} images {number(score.value)}" for n, score in fixed)
    yield Chart(
        name=f"{task.anchor}-galleries",
        title="Overlap over the size of the gallery",
        shows=(
            f"Neighbours kept beyond chance in galleries drawn from these images, and in all of them. Bars: "
            f"{fixed[0][1].method}."
            + ("" if extrapolated is None else f" The open mark is no measurement: {extrapolated[1].method}.")
        ),
        alt=f"Line chart, k = {HEADLINE_K}: {said}.",
        draw=GalleryChart(fixed, shared, extrapolated).draw,
        inches=(WIDE, 3.4),
    )


def _points(recorded: Sequence[Mapping[str, Any]]) -> list[tuple[int, Score]]:
    return [
        (
            int(one["n"]),
            Score(
                one["value"],
                float("nan") if one.get("low") is None else one["low"],
                float("nan") if one.get("high") is None else one["high"],
                int(one["n"]),
                one.get("chance"),
                str(one.get("method") or "no interval"),
            ),
        )
        for one in recorded
    ]


def further_findings(task: TaskRun, suffix: str = "") -> list[Finding]:
    """A sentence each on gain, on the gallery's size and on the words."""
    found = []
    if text := _gain(task):
        found.append(Finding(f"Neighbours, for the better or not{suffix}", text))
    if text := _tenfold(task):
        found.append(Finding(f"Neighbours, in a larger gallery{suffix}", text))
    if text := _words(task.scores):
        found.append(Finding(f"Tokens beside the words{suffix}", text))
    return found


def moved(change: Score) -> int:
    """1 where a paired change is above 0 by its interval, -1 where it is below, 0 where that cannot be told."""
    return int(change.low > 0) - int(change.high < 0)


def _gain(task: TaskRun) -> str:
    scores = task.scores
    gain = scores.get(f"gain_{HEADLINE_K}")
    if gain is None:
        return ""
    before, after = (scores.get(f"agreement_{side}_{HEADLINE_K}") for side in ("pre", "post"))
    space = reference_of(task) or "the reference"
    against = f"what the images show ({space})" if shows_content(task) else space
    text = f"Against {against} the connector's gain is {change(gain)}"
    if before is not None and after is not None:
        text += f", from {number(before.value)} of the {HEADLINE_K} nearest beyond chance to {number(after.value)}"
    if why := without_interval(gain):
        return f"{text}: which way is not told, since {why}."
    if moved(gain) > 0:
        text += ": neighbourhoods moved towards it, so neighbours were exchanged for better ones, and not lost alone"
    elif moved(gain) < 0:
        text += ": neighbourhoods moved away from it"
    else:
        text += ": by its interval not distinguishable from none"
    untrained = scores.get(f"untrained_gain_{HEADLINE_K}")
    own = task.scores_beside_controls.get(f"gain_{HEADLINE_K}", gain)
    if untrained is not None and has_interval(untrained) and has_interval(own):
        relation = "not distinguishable from the trained one's"
        if apart(own, untrained):
            relation = "above the trained one's" if untrained.value > own.value else "below the trained one's"
        text += f". That of the same architecture, untrained, is {change(untrained)}, {relation}"
    return f"{text}."


def _tenfold(task: TaskRun) -> str:
    tenfold = task.scores.get(f"knor_adj_{HEADLINE_K}_tenfold")
    if tenfold is None:
        return ""
    at = ((task.record.get("gallery_curve") or {}).get("fit") or {}).get("at")
    images = f" of {int(at):,} images" if at is not None else ""
    here = task.scores[f"knor_adj_{HEADLINE_K}"]
    way = "depends on"
    if apart(here, tenfold):
        way = "falls with" if tenfold.value < here.value else "rises with"
    return (
        f"Overlap {way} the size of the gallery: {number(here.value)} beyond chance among {tenfold.n:,} images, and "
        f"along smaller galleries' trend {interval(tenfold)} in one{images}, which is extrapolated and was not "
        "measured."
    )


def _words(scores: Mapping[str, Score]) -> str:
    norm, near = scores.get("text_norm_ratio"), scores.get("text_near")
    if norm is None or near is None:
        return ""
    text = (
        f"Tokens are {number(norm.value)} times as long as the language model's word embeddings, and "
        f"{interval(near) if near.value else 'none'} of them have a word nearer than words are to one another in the "
        "median"
    )
    distance, floor = scores.get("text_frechet"), scores.get("text_frechet_floor")
    if distance is not None and floor is not None:
        text += (
            f"; the Frechet distance of tokens and words is {interval(distance)} times the words' variance, where "
            f"two halves of the words have {number(floor.value)}"
        )
    return f"{text}."
