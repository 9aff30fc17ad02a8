"""Controls on a board that are not as they must be; `stats.oracles` decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from connector_bench.leaderboard.schema import Figure, TaskResult
from connector_bench.leaderboard.table import Row
from connector_bench.number_style import number
from connector_bench.stats.oracles import as_it_must_be


@dataclass(frozen=True)
class Alarm:
    """One figure of a control that puts every other figure of that task in doubt."""

    model: str
    task: str
    metric: str
    figure: Figure

    @property
    def what(self) -> str:
        """`shuffled_knor_10 of knn_preservation is 0.200`."""
        return f"{self.metric} of {self.task} is {number(self.figure.value)}"


def judged(model: str, task: str, result: TaskResult) -> Iterator[tuple[Alarm, bool]]:
    """Every figure of a task that has to be something, and whether it is."""
    for metric, figure in result.figures.items():
        fine = as_it_must_be(metric, figure, figure.p, result.comparable.options)
        if fine is not None:
            yield Alarm(model, task, metric, figure), fine


def alarms_of(model: str, task: str, result: TaskResult) -> list[Alarm]:
    """The figures of a task that are not what they must be."""
    return [alarm for alarm, fine in judged(model, task, result) if not fine]


@dataclass(frozen=True)
class BoardAlarms:
    """What the controls of all rows say."""

    judged: int
    off: tuple[Alarm, ...]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> BoardAlarms:
        """Over all models, whatever their kind; the rows of controls themselves are medians of these."""
        found = [
            one
            for row in rows
            for task, result in row.results.items()
            for one in judged(row.model, task, result)
        ]
        return cls(len(found), tuple(alarm for alarm, fine in found if not fine))
