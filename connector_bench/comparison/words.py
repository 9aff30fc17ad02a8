"""A comparison in plain words, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from connector_bench.comparison.compare import Comparison, MetricDifference
from connector_bench.leaderboard.text import ARROWS, in_markdown
from connector_bench.metrics import metric as metric_of
from connector_bench.number_style import MINUS, difference, number
from connector_bench.stats.paired import Difference

ABOUT = """Differences are {second} less {first} on the same documents; ± is the 95 % interval, `q` is the
p-value adjusted for {count} (Benjamini and Hochberg). Questions about one image stay together."""


ABOUT_BOUNDS = """≤ and ≥ stand before what is a bound: more training images still help those probes. The difference is
that of the probes as they are."""
LONGEST_REASON = 600
SMALL = 0.01
"""Differences whose interval lies within this say nothing in three decimals."""


def comparison_markdown(comparison: Comparison) -> str:
    """Sentences for what differs, then a table a task, then how intervals and tests were made."""
    names = {"first": in_markdown(comparison.first), "second": in_markdown(comparison.second)}
    blocks = [
        f"# {names['second']} against {names['first']}",
        ABOUT.format(count=_tested_of(comparison), **names),
        *([ABOUT_BOUNDS] if any(any(item.bounds) for item in comparison.differences) else []),
        *(
            f"The prompts of {in_markdown(task)} differ: the two models were not asked in the same words."
            for task in comparison.prompts_differ
        ),
        *(f"{in_markdown(said, LONGEST_REASON)}." for said in comparison.intervened),
        *(f"Not compared: {in_markdown(why, LONGEST_REASON)}." for why in comparison.not_comparable),
        "\n".join(f"- {sentence(item, **names)}" for item in comparison.differences),
        _identical(comparison.identical),
    ]
    for task in dict.fromkeys(item.task for item in comparison.differences):
        items = [item for item in comparison.differences if item.task == task]
        blocks += [f"## {in_markdown(task)}", _table(items, **names)]
    methods = dict.fromkeys(
        f"- {method}" for item in comparison.differences for method in _methods(item.difference)
    )
    if methods:
        blocks += ["## How", "\n".join(methods)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _tested_of(comparison: Comparison) -> str:
    """What `q` is over: a metric without a p does not count."""
    count, of = sum(math.isfinite(item.q) for item in comparison.differences), len(comparison.differences)
    return (
        f"all {of} metrics compared" if count == of else f"the {count} of {of} metrics compared that have one"
    )


def _methods(change: Difference) -> tuple[str, ...]:
    """How interval and test were made; the one sentence where there is neither."""
    if change.interval_method == change.test_method:
        return (change.interval_method,)
    return change.interval_method, f"p: {change.test_method}"


def _identical(names: Sequence[str]) -> str:
    shown = ", ".join(map(in_markdown, names))
    return f"The same on every document, so not tested: {shown}." if names else ""


def sentence(item: MetricDifference, first: str, second: str) -> str:
    """What one metric says: the effect in plain words, then the metric, the size of the difference and its basis."""
    named = in_markdown(item.label) + ("" if item.label == item.metric else f" ({in_markdown(item.metric)})")
    where = f"{in_markdown(item.task)}, {named}"
    before, after = (number(*side) for side in zip((item.first, item.second), item.bounds, strict=True))
    change = item.difference
    if not math.isfinite(change.low):
        return f"{where}, {before} and {after}: {change.interval_method}."
    interval = f"{changed(change.value, change.low, change.high)}, q = {item.q:.2g}"
    basis = f"{item.documents:,} documents" + (
        f" of {item.images:,} images" if item.images != item.documents else ""
    )
    counted = f"higher on {item.higher:,} and lower on {item.lower:,} of {basis}"
    if not item.differs:
        widest = max(abs(change.low), abs(change.high))
        return (
            f"no difference that {basis} could show: {where}, {before} and {after} "
            f"({interval}); one of up to {number(widest)} would not stand out."
        )
    return (
        f"{second} {_effect(item)} than {first}: {where}, {before} becomes {after} ({interval}); {counted}."
    )


def tested(p: float) -> str:
    """A p-value; a dash where there is none."""
    return f"{p:.2g}" if math.isfinite(p) else "–"


def changed(value: float, low: float, high: float) -> str:
    """`+0.321 ±.016`; `+0.002 (+0.001 to +0.005)` where three decimals would say nothing."""
    widest = max((abs(end) for end in (low, high) if math.isfinite(end)), default=abs(value))
    if not 0 < widest < SMALL:
        return difference(value, low, high)
    said = f"{value:+.2g} ({low:+.2g} to {high:+.2g})" if math.isfinite(low + high) else f"{value:+.2g}"
    return said.replace("-", MINUS)


def _effect(item: MetricDifference) -> str:
    """The difference in plain words; what is no mark is more or less, higher or lower, never better or worse."""
    up = item.difference.value > 0
    entry = metric_of(item.metric) if item.ours else None
    if entry is not None and entry.control is None and entry.effect is not None:
        effect = entry.effect[0 if up else 1].format(k=entry.k)
        return effect.replace("of its images' 1 nearest neighbours", "images' nearest neighbour")
    if item.higher_is_better is None:
        return f"is {'higher' if up else 'lower'}"
    return f"is {'better' if up == item.higher_is_better else 'worse'}"


def _table(items: Iterable[MetricDifference], first: str, second: str) -> str:
    lines = [
        {
            "metric": in_markdown(item.label) + ARROWS[item.higher_is_better],
            first: number(item.first, item.bounds[0]),
            f"{second} ": number(item.second, item.bounds[1]),
            "difference": changed(item.difference.value, item.difference.low, item.difference.high),
            "p": tested(item.difference.p),
            "q": tested(item.q),
        }
        for item in items
    ]
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)
