"""The merged leaderboard as frozen values: what every rendering (Markdown, CSV, JSON, page) gets and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from connector_bench.leaderboard.schema import Comparable, Connector, Figure, Measure, Provenance, TaskResult
from connector_bench.stats.bounds import Bound, bound_of

Key = tuple[str, str]
"""Task and metric: the name of a column."""

Kind = Literal["competitor", "reference", "control"]
Topic = Literal["k-NN preservation", "Patch reconstruction", "Stages", "Task performance"]


@dataclass(frozen=True)
class Column:
    """One metric of one task: what every figure in it shares."""

    task: str
    metric: str
    topic: Topic
    label: str
    """What a reader is shown, such as `kept beyond chance, k = 10`; the metric's own name where it has no other."""
    comparable: Comparable
    measure: Measure | None = None
    """The measure whose task this is; None for a task that is not ours."""
    chance: float | None = None
    higher_is_better: bool | None = None
    k: int | None = None
    headline: bool = False
    """Whether people compare models by it: shown in Markdown and CSV; the others are behind a choice of columns."""
    ranked: bool = False
    """Whether its competitors have ranks."""
    control: str | None = None
    """Name of the control whose figure this is (`untrained`, `random_linear` ...), on the model's own images."""

    @property
    def key(self) -> Key:
        """Task and metric."""
        return self.task, self.metric


@dataclass(frozen=True)
class Rank:
    """A competitor's place in a ranked column."""

    place: int
    """1 is best. Models that cannot be told apart share the place of the best of them."""
    shared_by: int
    """How many models have this place."""
    paired: bool
    """Whether it rests on differences over the same images; if not, on the intervals that the runs recorded."""

    def __str__(self) -> str:
        return f"{self.place}=" if self.shared_by > 1 else str(self.place)


@dataclass(frozen=True)
class Row:
    """One model with its figures by column; a missing one is absent and never averaged over.

    A `competitor` has ranks. A `reference` is a model of the zoo whose connector was not trained or loses nothing. A
    `control` is no model: one control over all runs that measured it, `value` their median, `low` and `high` the
    smallest and the largest.
    """

    model: str
    kind: Kind
    connector: Connector | None
    figures: Mapping[Key, Figure]
    ranks: Mapping[Key, Rank] = field(default_factory=dict)
    results: Mapping[str, TaskResult] = field(default_factory=dict)
    """By task: conditions, probe budget, loss maps and the values per image."""
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    """By task: the run that its figures come from. Runs of one model may have measured different tasks."""

    def bound(self, key: Key) -> Bound | None:
        """What its figure in a column is a bound of; None where it is none."""
        task, metric = key
        probe = self.results[task].probe if task in self.results else None
        return None if probe is None else bound_of(metric, probe.more_data_helps)

    @property
    def bounds(self) -> Mapping[Key, Bound]:
        """What its figures are bounds of, by column; of those alone that are."""
        return {key: bound for key in self.figures if (bound := self.bound(key))}


@dataclass(frozen=True)
class Spread:
    """One metric over the seeds of one connector."""

    mean: float
    sd: float
    """Standard deviation over seeds, `n - 1` in the denominator."""
    low: float
    """The smallest seed."""
    high: float
    """The largest seed."""
    n: int
    bound: Bound | None = None
    """What the mean is a bound of, where any seed's figure is one."""


@dataclass(frozen=True)
class Group:
    """Seeds of one connector, for display: each seed stays a model and has a rank of its own."""

    name: str
    kind: Kind
    connector: Connector | None
    models: tuple[str, ...]
    spreads: Mapping[Key, Spread]
    """Only columns for which every seed has a figure."""


@dataclass(frozen=True)
class PublishedFigure:
    """A figure out of a paper, measured under another protocol: never ranked, never in a column of ours."""

    model: str
    data_set: str
    metric: str
    """In our names, `paper_` in front where the published procedure differs."""
    label: str
    value: float
    higher_is_better: bool | None
    where: str
    """Table or figure of the source."""
    comparable_key: Key | None = None
    """The column of ours that measures the same quantity on the same data set by the published procedure, if any."""


@dataclass(frozen=True)
class Published:
    """All published figures with their source."""

    source: str
    note: str
    figures: tuple[PublishedFigure, ...]


@dataclass(frozen=True)
class Table:
    """The merged leaderboard: competitors best first, then references, then controls."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    groups: tuple[Group, ...]
    published: Published

    @property
    def competitors(self) -> tuple[Row, ...]:
        """Rows with ranks, best first in the first of `sorting_columns`; rows without that figure last."""
        return tuple(row for row in self.rows if row.kind == "competitor")

    @property
    def references(self) -> tuple[Row, ...]:
        """Models and controls that are known to lose nothing, or to have learnt nothing."""
        return tuple(row for row in self.rows if row.kind != "competitor")

    @property
    def headlines(self) -> tuple[Column, ...]:
        """Columns that people compare models by."""
        return tuple(column for column in self.columns if column.headline)
