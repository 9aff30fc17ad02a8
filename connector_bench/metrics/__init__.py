"""Every figure and control once: what it means, which way it points, what it is of.

Board, report, comparison, association, demo, docs/METRICS.md and the tasks' own lists of metrics read this. `entries`
has the types, `catalogue` the list, `lookup` finds entries by name.
"""

from connector_bench.metrics.catalogue import CONTROLS, KEEP_ALL, METRICS
from connector_bench.metrics.entries import HEADLINE_K, Control, Family, Measure, Metric, Owner, by_column
from connector_bench.metrics.lookup import (
    control,
    corrected,
    label_of,
    listed_as,
    loss_named,
    meanings,
    metric,
    named,
    of_owner,
    reported,
)

__all__ = [
    "CONTROLS",
    "HEADLINE_K",
    "KEEP_ALL",
    "METRICS",
    "Control",
    "Family",
    "Measure",
    "Metric",
    "Owner",
    "by_column",
    "control",
    "corrected",
    "label_of",
    "listed_as",
    "loss_named",
    "meanings",
    "metric",
    "named",
    "of_owner",
    "reported",
]
