"""Curves along training in plain words, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from connector_bench.comparison.steps import Curve, StepPoint
from connector_bench.comparison.words import changed
from connector_bench.leaderboard.text import ARROWS, in_markdown
from connector_bench.number_style import number, with_interval

ABOUT = """± is the 95 % interval over images. A star marks a checkpoint that differs from the first one by
more than chance, paired on the same documents, at 5 % false discoveries among all metrics and checkpoints."""


def curves_markdown(curves: Sequence[Curve]) -> str:
    """A sentence a metric from first to last checkpoint, then a table a task."""
    points = curves[0].points
    blocks = [
        f"# {len(points)} checkpoints, step {points[0].step:g} to {points[-1].step:g}",
        ABOUT,
        "\n".join(f"- {_sentence(curve)}" for curve in curves),
    ]
    for task in dict.fromkeys(curve.task for curve in curves):
        blocks += [f"## {in_markdown(task)}", _table([curve for curve in curves if curve.task == task])]
    return "\n\n".join(blocks) + "\n"


def _sentence(curve: Curve) -> str:
    first, last = curve.points[0], curve.points[-1]
    named = in_markdown(curve.label) + (
        "" if curve.label == curve.metric else f" ({in_markdown(curve.metric)})"
    )
    where = f"{in_markdown(curve.task)}, {named}"
    change = last.from_first
    if change is None or last.q is None:
        return f"{where}: {number(last.value, last.bound)}."
    if not math.isfinite(change.low):
        return (
            f"{where}: {number(first.value, first.bound)}, at last {number(last.value, last.bound)}; "
            f"{change.interval_method}."
        )
    interval = f"{changed(change.value, change.low, change.high)}, q = {last.q:.2g}"
    if not last.differs:
        return f"{where}: from first to last no difference that these documents could show ({interval})."
    word = _word(change.value > 0, curve.higher_is_better)
    return f"{where}: {word} from {number(first.value, first.bound)} to {number(last.value, last.bound)} ({interval})."


def _word(up: bool, higher_is_better: bool | None) -> str:
    if higher_is_better is None:
        return "rises" if up else "falls"
    return "improves" if up == higher_is_better else "worsens"


def _table(curves: Sequence[Curve]) -> str:
    lines = []
    for place, point in enumerate(curves[0].points):
        line = {"step": f"{point.step:g}", "model": in_markdown(point.model)}
        for curve in curves:
            line[in_markdown(curve.label) + ARROWS[curve.higher_is_better]] = _cell(curve.points[place])
        lines.append(line)
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)


def _cell(point: StepPoint) -> str:
    star = " *" if point.differs and math.isfinite(point.low) else ""
    return with_interval(point.value, point.low, point.high, point.bound) + star
