"""A comparison in plain words, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from connector_bench.comparison.compare import Comparison, MetricDifference
from connector_bench.leaderboard.text import ARROWS, in_markdown, number

ABOUT = """Differences are {second} less {first} on the same documents; brackets hold the 95 % interval, `q` is the
p-value adjusted for all {count} metrics compared (Benjamini and Hochberg). Questions about one image stay together."""


LONGEST_REASON = 600


def comparison_markdown(comparison: Comparison) -> str:
    """Sentences for what differs, then a table a task, then how intervals and tests were made."""
    names = {"first": in_markdown(comparison.first), "second": in_markdown(comparison.second)}
    blocks = [
        f"# {names['second']} against {names['first']}",
        ABOUT.format(count=len(comparison.differences), **names),
        *(
            f"The prompts of {in_markdown(task)} differ: the two models were not asked in the same words."
            for task in comparison.prompts_differ
        ),
        *(f"Not compared: {in_markdown(why, LONGEST_REASON)}." for why in comparison.not_comparable),
        "\n".join(f"- {sentence(item, **names)}" for item in comparison.differences),
        _identical(comparison.identical),
    ]
    for task in dict.fromkeys(item.task for item in comparison.differences):
        items = [item for item in comparison.differences if item.task == task]
        blocks += [f"## {in_markdown(task)}", _table(items, **names)]
    methods = dict.fromkeys(
        f"- {method}"
        for item in comparison.differences
        for method in (item.difference.interval_method, f"p: {item.difference.test_method}")
    )
    if methods:
        blocks += ["## How", "\n".join(methods)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _identical(names: Sequence[str]) -> str:
    shown = ", ".join(map(in_markdown, names))
    return f"The same on every document, so not tested: {shown}." if names else ""


def sentence(item: MetricDifference, first: str, second: str) -> str:
    """What one metric says, with the size of the difference and what it rests on."""
    where = f"{in_markdown(item.task)}, {in_markdown(item.label)}"
    change = item.difference
    if not math.isfinite(change.low):
        return f"{where}: {number(item.first)} and {number(item.second)}; {change.interval_method}."
    interval = f"{signed(change.value)} [{signed(change.low)}, {signed(change.high)}], q = {item.q:.2g}"
    basis = f"{item.documents:,} documents" + (
        f" of {item.images:,} images" if item.images != item.documents else ""
    )
    counted = f"higher on {item.higher:,} and lower on {item.lower:,} of {basis}"
    if not item.differs:
        widest = max(abs(change.low), abs(change.high))
        return (
            f"{where}: no difference that {basis} could show ({number(item.first)} and {number(item.second)}, "
            f"{interval}); one of up to {number(widest)} would not stand out."
        )
    return (
        f"{where}: {second} is {_verdict(item)} than {first}, {number(item.first)} becomes {number(item.second)} "
        f"({interval}); {counted}."
    )


def ends(low: float, high: float) -> str:
    """An interval in brackets, where there is one."""
    return f" [{signed(low)}, {signed(high)}]" if math.isfinite(low) and math.isfinite(high) else ""


def tested(p: float) -> str:
    """A p-value; a dash where there is none."""
    return f"{p:.2g}" if math.isfinite(p) else "–"


def signed(value: float) -> str:
    """A difference with its sign; two digits that count where three decimals would say nothing."""
    if 0 < abs(value) < 0.01:
        return f"{value:+.2g}"
    return f"{value:+.3f}" if abs(value) < 100 else f"{value:+,.0f}"


def _verdict(item: MetricDifference) -> str:
    up = item.difference.value > 0
    if item.higher_is_better is None:
        return "higher" if up else "lower"
    return "better" if up == item.higher_is_better else "worse"


def _table(items: Iterable[MetricDifference], first: str, second: str) -> str:
    lines = [
        {
            "metric": in_markdown(item.label) + ARROWS[item.higher_is_better],
            first: number(item.first),
            f"{second} ": number(item.second),
            "difference": signed(item.difference.value) + ends(item.difference.low, item.difference.high),
            "p": tested(item.difference.p),
            "q": tested(item.q),
        }
        for item in items
    ]
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)
