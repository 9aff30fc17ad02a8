"""What a board was measured on, in one sentence, and when: it follows from the results alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from connector_bench.headlines import SORTED_BY
from connector_bench.leaderboard.board_entries import Entry
from connector_bench.leaderboard.columns import sorting_columns
from connector_bench.leaderboard.page_detail import STAMP, unmasked
from connector_bench.leaderboard.table import Column, Table
from connector_bench.stats.paired import ROUNDING

DRAWN = {
    "knn_preservation": "single emoji drawings on backgrounds",
    "knn_preservation_scenes": "composited emoji scenes",
    "patch_reconstruction": "composited emoji scenes",
    "connector_stages": "composited emoji scenes",
    "scenes_vqa": "composited emoji scenes",
}
"""What the pictures of the embedded data sets are; `_unseen` behind a task's name are other drawings."""
EMBEDDED = "connector_zoo"
ZOO = " All models are of the embedded zoo: small ones that differ in their connector alone."
WHY = (
    "the share of the patches' variance that no probe rebuilds (≤: at most): across the trained connectors of the zoo, "
    "not in every pair, those that lose less answer more"
)
NO_PREDICTOR = "the first that this board holds of the figures that boards are sorted by"
UNSEEN = "_unseen"
MOST_NAMED = 3
NO_INTERVAL = ", with no interval to tell by"
NARROW = "\u00a0"
"""A space at which no line breaks."""
PAPER = "https://arxiv.org/abs/2509.11986"
BIBTEX = """@inproceedings{li2025lost,
  title = {Lost in Embeddings: Information Loss in Vision-Language Models},
  author = {Li, Wenyan and Tang, Raphael and Li, Chengzu and Zhang, Caiqi and Vuli{\\'c}, Ivan and S{\\o}gaard, Anders},
  booktitle = {Findings of the Association for Computational Linguistics: EMNLP 2025},
  year = {2025},
  url = {https://arxiv.org/abs/2509.11986}
}"""


def measured_on(table: Table) -> dict[str, Any]:
    """`measured`: the sentence; `date` of the newest result; `protocol`; `versions` of the software that measured."""
    found = [provenance for row in table.rows for provenance in row.provenance.values()]
    protocols = {column.comparable.protocol for column in table.columns if column.comparable.protocol}
    versions = {version for one in found if (version := one.versions.get("connector-bench"))}
    dates = [date for one in found if (date := STAMP.sub(r"\1-\2-\3", one.date)[:10])]
    return {
        "measured": sentence(table),
        "date": unmasked(max(dates, default="")),
        "protocol": unmasked(", ".join(sorted(protocols))),
        "versions": unmasked(", ".join(sorted(versions))),
    }


def reason(column: Column) -> str:
    """Why a board is sorted by a column."""
    return WHY if column.metric == SORTED_BY[0] else NO_PREDICTOR


def why_sorted(table: Table) -> str:
    """By what the board is sorted, and why; empty where it is by nothing of ours."""
    by = _sorting(table)
    return "" if by is None else f"Sorted and ranked by {by.label}, {reason(by)}."


def _sorting(table: Table) -> Column | None:
    return next((column for column in sorting_columns(table.columns) if column.measure is not None), None)


def first_places(table: Table, found: Sequence[Entry]) -> str:
    """Who is first by what the board is sorted by, what that is worth in a task, and who answers best; may be empty."""
    competitors = [entry for entry in found if entry.kind == "competitor"]
    by = _sorting(table)
    ranked = [entry for entry in competitors if by is not None and by.key in entry.figures]
    if by is None or not ranked:
        return ""
    first = ranked[0]
    said = f"First by {by.label}: {unmasked(first.short)}, {first.text(by.key)}"
    if sharing := _sharing(first, ranked, by):
        said += f", a place that it shares with {_listed(sharing)}"
    task = next((column for column in table.columns if column.measure is None), None)
    answering = [entry for entry in competitors if task is not None and task.key in entry.figures]
    if task is None or not answering:
        return f"{said}."
    named = f"{unmasked(task.label)} in {unmasked(task.task)}"
    if first in answering:
        said += f"; it has {unmasked(task.label)} {first.text(task.key)} in {unmasked(task.task)}"
    sign = -1 if task.higher_is_better is False else 1
    best = max(answering, key=lambda entry: (sign * entry.figures[task.key].value, entry is first))
    if best is not first:
        names = _listed([best, *_tied(best, answering, task)])
        return f"{said}. Best {named}: {names}, {best.text(task.key)}{_against(first, best, task)}."
    beside = {entry.name: _alike(entry, best, task) for entry in answering if entry is not best}
    if alike := [entry for entry in answering if beside.get(entry.name)]:
        return f"{said}; no other is better, and it is not told apart from {_listed(alike)}."
    if not beside:
        return f"{said}."
    return f"{said}, the best of all{NO_INTERVAL if None in beside.values() else ''}."


def _sharing(entry: Entry, others: Sequence[Entry], column: Column) -> list[Entry]:
    """Those who have its place in a ranked column."""
    places = {other.name: other.ranks[column.key].place for other in others if column.key in other.ranks}
    mine = places.pop(entry.name, None)
    return [other for other in others if mine is not None and places.get(other.name) == mine]


def _tied(entry: Entry, others: Sequence[Entry], column: Column) -> list[Entry]:
    value = entry.figures[column.key].value
    return [
        other
        for other in others
        if other is not entry and abs(other.figures[column.key].value - value) <= ROUNDING
    ]


def _listed(entries: Sequence[Entry]) -> str:
    """`beta, gamma and 2 more`."""
    names = [unmasked(entry.short) for entry in entries]
    if len(names) > MOST_NAMED:
        names[MOST_NAMED - 1 :] = [f"{len(names) - MOST_NAMED + 1} more"]
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _against(first: Entry, best: Entry, column: Column) -> str:
    alike = _alike(first, best, column) if column.key in first.figures else False
    if alike is None:
        return NO_INTERVAL
    return f", not told apart from {unmasked(first.short)}" if alike else ""


def _alike(other: Entry, best: Entry, column: Column) -> bool | None:
    """Whether the interval of their difference, from both intervals, covers 0; None where one has none."""
    one, most = other.figures[column.key], best.figures[column.key]
    if abs(most.value - one.value) <= ROUNDING:
        return True
    below, above = (one.high, most.low) if column.higher_is_better is not False else (one.low, most.high)
    if below is None or above is None:
        return None
    return abs(most.value - one.value) <= math.hypot(most.value - above, below - one.value)


def sentence(table: Table) -> str:
    """`Measured on composited emoji scenes, N = 1,000, and single emoji ...; no photographs.`"""
    pictures: dict[str, int] = {}
    named: dict[str, int] = {}
    unseen = False
    for column in table.columns:
        task, n = column.task, column.comparable.n
        unseen |= task.endswith(UNSEEN)
        drawn = DRAWN.get(task.removesuffix(UNSEEN))
        if column.measure is None:
            continue
        if drawn:
            pictures.setdefault(drawn, n)
        else:
            named.setdefault(task, n)
    if not pictures and not named:
        return "No connector has been measured yet." if not table.columns else "Answers alone were measured."
    said = [f"{what}, N{NARROW}={NARROW}{n:,}" for what, n in pictures.items()]
    said += [
        f"the pictures of {unmasked(task)}, N{NARROW}={NARROW}{n:,}"
        for task, n in list(named.items())[:MOST_NAMED]
    ]
    if len(named) > MOST_NAMED:
        said.append(f"{len(named) - MOST_NAMED} further data sets")
    listed = ", and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)
    ends = ("; no photographs", "; again with drawings that the models were not trained on" if unseen else "")
    models = [row for row in table.rows if row.kind == "competitor"]
    zoo = all(row.connector is not None and row.connector.family == EMBEDDED for row in models) and models
    return f"Measured on {listed}{'' if named else ends[0]}{ends[1]}.{ZOO if zoo else ''}"
