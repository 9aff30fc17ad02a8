"""What a sweep leaves: a table of all its connectors, differences to the first of them, and the board's page."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import pandas as pd

from connector_bench.atomic_files import write_atomically
from connector_bench.comparison.words import changed
from connector_bench.leaderboard import board as boards
from connector_bench.leaderboard.schema import StoredRun
from connector_bench.leaderboard.text import ARROWS, in_markdown
from connector_bench.metrics import label_of
from connector_bench.number_style import number, span
from connector_bench.results.harness_files import UnusableResult
from connector_bench.sweep.execute import LOG, RunOutcome, done
from connector_bench.sweep.seeded_differences import (
    Key,
    SeededRuns,
    difference,
    higher_is_better,
    lines_of,
    seed_variance,
    shown_keys,
)

TABLE, BOARD = "sweep.md", "leaderboard"
LONGEST_HEAD = 200


def write_summary(outcomes: Sequence[RunOutcome], output: Path) -> tuple[str, Path | None]:
    """Write the table and, of whole runs, the board with its page; the table's text, and the page or None.

    Raises:
        UnusableResult: no run has results.
        OSError: the folder cannot be written.
    """
    lines = lines_of(done(outcomes))
    failed = [outcome for outcome in outcomes if outcome.failed is not None]
    if not lines:
        raise UnusableResult(f"no run of the sweep has results: {failed[0].run.name}: {failed[0].failed}")
    keys = shown_keys(lines)
    blocks = ["# Sweep", _table(lines, keys)]
    if len(lines) > 1:
        blocks += [f"## Differences to {in_markdown(lines[0].name)}", _differences(lines, keys)]
    if failed:
        listed = (
            f"- {in_markdown(one.run.name)}: {in_markdown(one.failed or '', 400)} ({one.folder.name}/{LOG})"
            for one in failed
        )
        blocks += ["## Failed", "\n".join(listed)]
    page, why = _board(done(outcomes), output / BOARD)
    if why is not None:
        blocks.append(f"No board: {in_markdown(why, 400)}.")
    text = "\n\n".join(blocks) + "\n"
    write_atomically(output / TABLE, text.encode())
    return text, page


def _table(lines: Sequence[SeededRuns], keys: Sequence[Key]) -> str:
    rows = []
    for line in lines:
        row = {"connector": in_markdown(line.name)}
        for key in keys:
            values = list(line.values(key).values())
            cell = number(fmean(values), line.bound(key)) if values else ""
            if len(values) > 1:
                cell += f" ({span(min(values), max(values))})"
            row[_head(lines, key)] = cell
        rows.append(row)
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


def _head(lines: Sequence[SeededRuns], key: Key) -> str:
    return _named(lines, key) + ARROWS[higher_is_better(lines, key)]


def _named(lines: Sequence[SeededRuns], key: Key) -> str:
    """Task and figure, and the data set where the sweep has several: they may share a task."""
    data_set, task, metric = key
    where = task if all(len(line.sides) < 2 for line in lines) else f"{data_set}: {task}"
    return in_markdown(f"{where}, {label_of(metric)}", LONGEST_HEAD)


def _differences(lines: Sequence[SeededRuns], keys: Sequence[Key]) -> str:
    first, sentences = lines[0], []
    for key in keys:
        between = seed_variance(lines, key)
        better = higher_is_better(lines, key)
        for line in lines[1:]:
            try:
                found = difference(line, first, key, between)
            except UnusableResult as error:
                sentences.append(
                    f"- {in_markdown(line.name)}, {_named(lines, key)}: not compared, {in_markdown(str(error), 300)}"
                )
                continue
            if found is None:
                continue
            words = ("higher", "lower") if better is None else ("better", "worse")
            verdict = words[0 if (found.value > 0) == (better is not False) else 1]
            said = f"is {verdict} than" if found.differs else "is not told apart from"
            alone = "" if found.seeds else "; documents alone, no connector has two seeds"
            sentences.append(
                f"- {in_markdown(line.name)} {said} {in_markdown(first.name)}: {_named(lines, key)} "
                f"{changed(found.value, found.low, found.high)}{alone}"
            )
    return "\n".join(sentences)


def _board(outcomes: Sequence[RunOutcome], board: Path) -> tuple[Path | None, str | None]:
    """The page of a board with all runs, or why there is none: a board takes whole runs alone."""
    try:
        runs: list[StoredRun] = []
        for outcome in outcomes:
            run = outcome.run
            runs += boards.read_runs([outcome.folder], f"{run.row}-seed{run.seed}")
        shutil.rmtree(board, ignore_errors=True)
        boards.add(board, runs)
    except UnusableResult as error:
        return None, str(error)
    return board / "index.html", None
