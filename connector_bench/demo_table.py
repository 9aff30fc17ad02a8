"""What the demo says at its end: one table of eighty columns, what it means, and what to type next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from connector_bench.headlines import SHOWN
from connector_bench.leaderboard.ranks import interval
from connector_bench.leaderboard.schema import Figure
from connector_bench.leaderboard.table import Key, Row, Table
from connector_bench.leaderboard.text import visible
from connector_bench.number_style import NONE, number, with_interval
from connector_bench.results.tasks import PRESERVATION, RECONSTRUCTION
from connector_bench.stats.bounds import Bound

WIDTH, NAME, FIGURE = 79, 16, 16
"""Characters of a line, of a row's name, of a figure."""
KEPT, UNTRAINED, LOST, ACCURACY = SHOWN
HEADS = {KEPT: "kept", UNTRAINED: "kept untrained", LOST: "lost", ACCURACY: "accuracy"}
CONTROLS = {"identity": "1", "shuffled": "chance"}
"""Controls of every run that say whether its figures can be trusted, and what they must be."""

NEXT = """\
next
- the board, in a browser:
  {page}
- one model in detail, with its loss maps:
  {program} report {results}:{model}
- your own model:
  {harness} --model llava_hf \\
    --model_args pretrained=llava-hf/llava-1.5-7b-hf \\
    --tasks knn_preservation,patch_reconstruction \\
    --log_samples --output_path results"""


def said(table: Table, tasks: Sequence[str]) -> str:
    """The table of a run of these tasks, what stands in it, and two sentences that follow from it."""
    keys = _keys(tasks)
    rows = [row for row in table.rows if row.kind != "control" and row.figures.keys() & set(keys.values())]
    rows.sort(key=lambda row: _order(row, keys))
    trained = [row for row in rows if row.kind == "competitor"]
    names = _short([row.model for row in rows])
    controls = [_line(names[row.model], row, keys) for row in rows if row.kind != "competitor"]
    controls += _controls(table, keys)
    blocks = [
        [
            "".join([f"{'connector':<{NAME}}", *(f"{HEADS[metric]:>{FIGURE}}" for metric in keys)]),
            *(_line(names[row.model], row, keys) for row in trained),
        ],
        ["controls, which lose nothing or keep nothing", *controls] if controls else [],
        [line for head, text in _about(rows, keys) for line in _hanging(head, text)],
        [line for text in _meaning(trained, names, keys) for line in textwrap.wrap(text, WIDTH)],
    ]
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks if block)


def _keys(tasks: Sequence[str]) -> dict[str, Key]:
    """By metric: its column, of those tasks that were run."""
    found: dict[str, Key] = {}
    for task in tasks:
        if task == PRESERVATION:
            found |= {KEPT: (task, KEPT), UNTRAINED: (task, UNTRAINED)}
        elif task in (RECONSTRUCTION, f"{RECONSTRUCTION}_demo"):
            found[LOST] = (task, LOST)
        elif task == "scenes_vqa":
            found[ACCURACY] = (task, ACCURACY)
    return {metric: found[metric] for metric in HEADS if metric in found}


def _order(row: Row, keys: Mapping[str, Key]) -> tuple[float, float, str]:
    """Least lost first, then most answered."""
    lost, right = (_figure(row, keys, metric) for metric in (LOST, ACCURACY))
    return (0.0 if lost is None else lost.value, 0.0 if right is None else -right.value, row.model)


def _figure(row: Row, keys: Mapping[str, Key], metric: str) -> Figure | None:
    return row.figures.get(keys[metric]) if metric in keys else None


def _short(names: Sequence[str]) -> dict[str, str]:
    """Names without folder and, where all have the same, without the seed."""
    shorter = {name: visible(name).rpartition("/")[2] for name in names}
    if len({short.rpartition("-seed")[2] for short in shorter.values()}) == 1:
        shorter = {name: short.rpartition("-seed")[0] or short for name, short in shorter.items()}
    return shorter


def _line(name: str, row: Row, keys: Mapping[str, Key]) -> str:
    shown = []
    for key in keys.values():
        figure = row.figures.get(key)
        shown.append(f"{NONE if figure is None else _text(figure, row.bound(key)):>{FIGURE}}")
    name = name if len(name) < NAME else f"{name[: NAME - 2]}…"
    return "".join([f"{name:<{NAME}}", *shown])


def _text(figure: Figure, bound: Bound | None) -> str:
    """With the wider side of the interval on both sides, since two do not fit."""
    if figure.stderr is None and None in (figure.low, figure.high):
        return number(figure.value, bound)
    low, high = interval(figure)
    half = max(figure.value - low, high - figure.value)
    return with_interval(figure.value, figure.value - half, figure.value + half, bound)


def _controls(table: Table, keys: Mapping[str, Key]) -> Iterator[str]:
    """A line for each control of the runs that must have a known figure."""
    for row in table.rows:
        figure = _figure(row, keys, KEPT)
        if row.kind != "control" or row.model not in CONTROLS or figure is None:
            continue
        must = CONTROLS[row.model]
        chance = next((column.chance for column in table.columns if column.key == keys[KEPT]), None)
        if must == "chance" and chance is not None:
            must = f"{must}, {number(chance)}"
        yield f"{f'({row.model})':<{NAME}}{number(figure.value):>{FIGURE}}  in each run; must be {must}"


def _about(rows: Sequence[Row], keys: Mapping[str, Key]) -> Iterator[tuple[str, str]]:
    """What is in the columns, and of how many pictures."""
    n = {
        metric: next((f.n for row in rows if (f := row.figures.get(key)) is not None and f.n), 0)
        for metric, key in keys.items()
    }
    if KEPT in keys:
        yield (
            "kept",
            f"share of a picture's 10 nearest before the connector that are so after it, {n[KEPT]:,} views of objects; "
            "beside it the same architecture untrained",
        )
    if LOST in keys:
        task = keys[LOST][0]
        results = (row.results[task].probe for row in rows if task in row.results)
        learnt = next((probe.train_images for probe in results if probe and probe.train_images), 0)
        few = "" if task == RECONSTRUCTION else " (few, to be quick; patch_reconstruction takes more)"
        yield (
            "lost",
            f"share of the patches' variance that no probe rebuilds, {n[LOST]:,} scenes, learnt from {learnt:,} "
            f"others{few}; ≤ is at most",
        )
    if ACCURACY in keys:
        yield "accuracy", "share of the questions about scenes that the model answers"
    yield "±", "95 % interval"


def _hanging(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{head:<10}", subsequent_indent=10 * " ")


def _meaning(trained: Sequence[Row], names: Mapping[str, str], keys: Mapping[str, Key]) -> Iterator[str]:
    """A sentence on loss and answers and one on neighbours, counted over the connectors that have the figures."""
    answered = [
        (names[row.model], lost.value, right.value)
        for row in trained
        if (lost := _figure(row, keys, LOST)) is not None
        and (right := _figure(row, keys, ACCURACY)) is not None
    ]
    if len(answered) > 1:
        (least, _, first), (most, _, last) = answered[0], answered[-1]
        pairs = [(a, b) for a, b in combinations(answered, 2) if a[1] != b[1]]
        agree = sum(a[2] > b[2] for a, b in pairs)
        yield (
            f"{least} loses least and answers {number(first)}, {most} loses most and answers {number(last)}: in "
            f"{agree} of {len(pairs)} pairs of connectors the one that loses less answers more."
        )
    compared = [
        (names[row.model], interval(kept)[1] < interval(untrained)[0])
        for row in trained
        if (kept := _figure(row, keys, KEPT)) is not None
        and (untrained := _figure(row, keys, UNTRAINED)) is not None
    ]
    fewer = [name for name, is_fewer in compared if is_fewer]
    if fewer:
        yield (
            f"{len(fewer)} of {len(compared)} connectors keep fewer neighbours than they did untrained "
            f"({', '.join(fewer)}): few neighbours kept are no sign of a loss by themselves."
        )
    elif compared:
        yield f"None of {len(compared)} connectors keeps fewer neighbours than it did untrained."
