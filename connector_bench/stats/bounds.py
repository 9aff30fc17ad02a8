"""Figures that are known from one side alone: what more training images of the probes would move one way only."""

from __future__ import annotations

from typing import Literal

from connector_bench.metrics import metric as metric_of

Bound = Literal["at most", "at least"]
SIGNS: dict[Bound, str] = {"at most": "≤ ", "at least": "≥ "}
"""What stands before such a figure, wherever it is shown."""


def bound_of(metric: str, more_data_helps: bool | None) -> Bound | None:
    """What a run's figure is a bound of, by whether its record says that more training images still help."""
    return may_be_bound(metric) if more_data_helps else None


def may_be_bound(metric: str) -> Bound | None:
    """What a figure is a bound of where more training images help; None for one that they do not move one way."""
    entry = metric_of(metric)
    return None if entry is None or entry.control is not None else entry.bound
