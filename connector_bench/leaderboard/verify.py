"""Whether fresh runs give the committed figures again, so that no change of a measure moves them unnoticed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from connector_bench.leaderboard.alarms import alarms_of
from connector_bench.leaderboard.columns import same_conditions
from connector_bench.leaderboard.schema import Comparable, Figure, StoredRun, TaskResult
from connector_bench.number_style import number, with_interval
from connector_bench.results.harness_files import UnusableResult

ROUNDING = 5e-4
"""How far another processor's rounding may move a figure beyond its interval, or at all where it has none: absolute up
to 1, relative above. Intervals of the zoo are ten times as wide, but for what loses nothing."""

VERSIONS = {"protocol": "protocol version", "version": "task version"}


@dataclass(frozen=True)
class Verification:
    """What a comparison of fresh with committed runs found, one sentence each."""

    agreed: int
    """How many committed figures the fresh runs give again."""
    moved: tuple[str, ...]
    """Figures and conditions that are no longer what was committed."""
    other_version: tuple[str, ...]
    """Tasks that were measured under another protocol or task version, and are not compared."""
    not_committed: tuple[str, ...]
    """Tasks of which the board has no result."""
    off: tuple[str, ...] = ()
    """Controls of the fresh runs that are not as they must be, whatever was committed."""


def verify(committed: Sequence[StoredRun], fresh: Sequence[StoredRun]) -> Verification:
    """Compare every task of every fresh run with the latest committed one of that model.

    A figure moved when its new value lies outside the committed interval or, without one, differs by more than
    `ROUNDING`. A new protocol or task version is how a change says that it means to move figures.

    Raises:
        UnusableResult: the board has no result of any of these models and tasks.
    """
    known = {
        (run.model, task): result
        for run in sorted(committed, key=lambda run: run.provenance.date)
        for task, result in run.tasks.items()
    }
    agreed = 0
    moved, other_version, not_committed = [], [], []
    for where, now in ((key, result) for run in fresh for key, result in _results(run)):
        name = ", ".join(where)
        before = known.get(where)
        if before is None:
            not_committed.append(name)
        elif versions := _versions(before.comparable, now.comparable):
            other_version.append(f"{name}: {versions}")
        else:
            changes = list(_changed_figures(before, now))
            moved += [f"{name}, {what}" for what in (*_changed_conditions(before, now), *changes)]
            agreed += len(before.figures) - len(changes)
    if len(not_committed) == sum(len(run.tasks) for run in fresh):
        raise UnusableResult(f"the board has no result to compare with of: {'; '.join(not_committed)}")
    off = [
        f"{model}, {alarm.what}"
        for run in fresh
        for (model, task), result in _results(run)
        for alarm in alarms_of(model, task, result)
    ]
    return Verification(agreed, tuple(moved), tuple(other_version), tuple(not_committed), tuple(off))


def _results(run: StoredRun) -> Iterator[tuple[tuple[str, str], TaskResult]]:
    return (((run.model, task), result) for task, result in run.tasks.items())


def _versions(before: Comparable, now: Comparable) -> str:
    pairs = {label: (getattr(before, name), getattr(now, name)) for name, label in VERSIONS.items()}
    return ", ".join(f"{label} {new} instead of {old}" for label, (old, new) in pairs.items() if old != new)


def _changed_conditions(before: TaskResult, now: TaskResult) -> Iterator[str]:
    for name, (old, new) in same_conditions(before.comparable, now.comparable).items():
        yield f"{name}: {old} was committed, now {new}"


def _changed_figures(before: TaskResult, now: TaskResult) -> Iterator[str]:
    for metric, figure in before.figures.items():
        found = now.figures.get(metric)
        if found is None:
            yield f"{metric}: {_described(figure)} was committed, now there is none"
        elif not _within(figure, found.value):
            alike = number(figure.value) == number(found.value)
            value = f"{found.value} (and {figure.value} before)" if alike else number(found.value)
            yield f"{metric}: {_described(figure)} was committed, now {value}"


def _within(figure: Figure, value: float) -> bool:
    rounding = ROUNDING * max(1.0, abs(figure.value))
    low, high = (figure.value if end is None else end for end in (figure.low, figure.high))
    return low - rounding <= value <= high + rounding


def _described(figure: Figure) -> str:
    return with_interval(figure.value, figure.low, figure.high)
