"""Figures of a sweep over their seeds, and differences between connectors with what seeds and documents leave open."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from scipy import stats

from connector_bench.comparison.compare import compare
from connector_bench.comparison.compared_runs import ComparisonSide, side_of
from connector_bench.headlines import SWEPT
from connector_bench.metrics import metric as metric_of
from connector_bench.results.harness_files import UnusableResult
from connector_bench.stats.bounds import Bound
from connector_bench.stats.paired import CONFIDENCE
from connector_bench.sweep.execute import RunOutcome

MOST_OF_OTHERS = 3
"""Figures of any other task, the first ones."""

Key = tuple[str, str, str]
"""Data set, task and metric."""


@dataclass(frozen=True)
class SeededRuns:
    """A line of the table: one connector, at one checkpoint."""

    name: str
    sides: Mapping[str, Mapping[int, ComparisonSide]]
    """By data set and seed."""

    def values(self, key: Key) -> dict[int, float]:
        """A figure by seed, where there is one."""
        data_set, task, metric = key
        runs = {seed: side.tasks.get(task) for seed, side in self.sides.get(data_set, {}).items()}
        found = {seed: run.figures.get(metric) for seed, run in runs.items() if run is not None}
        return {seed: value for seed, value in found.items() if value is not None}

    def bound(self, key: Key) -> Bound | None:
        """What the mean over seeds is a bound of: what any of its seeds is."""
        data_set, task, metric = key
        runs = [side.tasks.get(task) for side in self.sides.get(data_set, {}).values()]
        return next((bound for run in runs if run is not None and (bound := run.bound(metric))), None)

    def only(self, seed: int) -> SeededRuns:
        """One seed of it."""
        sides = {name: {seed: runs[seed]} for name, runs in self.sides.items() if seed in runs}
        return SeededRuns(f"{self.name}, seed {seed}", sides)


@dataclass(frozen=True)
class SeededDifference:
    """A figure of one connector less that of another, with its 95 % interval."""

    value: float
    low: float
    high: float
    seeds: bool
    """Whether the interval holds what another seed would change; else documents alone."""

    @property
    def differs(self) -> bool:
        """Whether the interval leaves 0 out."""
        return not self.low <= 0 <= self.high


def lines_of(outcomes: Iterable[RunOutcome]) -> list[SeededRuns]:
    """The results of a sweep, a line a connector and checkpoint. Raises UnusableResult for files that are none."""
    found: dict[str, dict[str, dict[int, ComparisonSide]]] = {}
    for outcome in outcomes:
        run = outcome.run
        found.setdefault(run.row, {}).setdefault(run.data_set, {})[run.seed] = side_of(outcome.folder)
    return [SeededRuns(name, sides) for name, sides in found.items()]


def shown_keys(lines: Sequence[SeededRuns]) -> list[Key]:
    """The figures of the table, in the order in which they are met."""
    keys: dict[Key, None] = {}
    for line in lines:
        for data_set, runs in line.sides.items():
            for side in runs.values():
                for task, run in side.tasks.items():
                    names = list(run.figures)
                    chosen = [n for n in SWEPT if n in names] if run.record else names[:MOST_OF_OTHERS]
                    keys |= dict.fromkeys((data_set, task, name) for name in chosen)
    return list(keys)


def seed_variance(lines: Sequence[SeededRuns], key: Key) -> tuple[float, int]:
    """Variance of a figure between seeds of one connector, pooled over all of them, and its degrees of freedom."""
    groups = [list(line.values(key).values()) for line in lines]
    groups = [values for values in groups if len(values) > 1]
    freedom = sum(len(values) - 1 for values in groups)
    pooled = sum(variance(values) * (len(values) - 1) for values in groups)
    return (pooled / freedom, freedom) if freedom else (0.0, 0)


def difference(
    one: SeededRuns, other: SeededRuns, key: Key, between_seeds: tuple[float, int]
) -> SeededDifference | None:
    """A figure of `one` less that of `other`, means over seeds; None where one of them has none.

    The variance is that over documents, which seeds share and which is paired, plus that between seeds for each side's
    number of seeds; with no two seeds of any connector, documents alone. Raises UnusableResult where the documents of
    the two are not the same, or too few for an interval.
    """
    ours, theirs = one.values(key), other.values(key)
    if not ours or not theirs:
        return None
    value = fmean(ours.values()) - fmean(theirs.values())
    spread, freedom = between_seeds
    between = spread * (1 / len(ours) + 1 / len(theirs))
    normal = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
    factor = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) if freedom else normal
    half = math.sqrt((normal * _documents_error(one, other, key)) ** 2 + factor**2 * between)
    return SeededDifference(value, value - half, value + half, freedom > 0)


def _documents_error(one: SeededRuns, other: SeededRuns, key: Key) -> float:
    """Standard error over documents of the paired difference, mean over pairs of seeds."""
    data_set, task, metric = key
    ours, theirs = (sorted(line.sides[data_set].items()) for line in (one, other))
    errors = []
    for (_, second), (_, first) in zip(ours, theirs, strict=False):
        items = {item.metric: item for item in compare(first, second, [task]).differences}
        if metric in items:
            change = items[metric].difference
            if not math.isfinite(change.low):
                raise UnusableResult(change.interval_method)
            errors.append((change.high - change.low) / 2 / float(stats.norm.ppf(0.5 + CONFIDENCE / 2)))
    return fmean(errors) if errors else 0.0


def higher_is_better(lines: Sequence[SeededRuns], key: Key) -> bool | None:
    """Which way a figure points; None where neither is better, as of what neighbours tell."""
    data_set, task, metric = key
    runs = [
        side.tasks[task]
        for line in lines
        for side in line.sides.get(data_set, {}).values()
        if task in side.tasks
    ]
    if not runs:
        return None
    entry = metric_of(metric) if runs[0].record else None
    if entry is not None and not entry.is_a_mark:
        return None
    column = next((m.column for m in runs[0].metrics if m.name == metric), metric)
    return runs[0].higher_is_better.get(column)
