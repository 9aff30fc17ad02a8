"""How the report names pairs of a loss and a score, and which of them stands for the others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from connector_bench.association.values import Grounded, JoinedTable, Pair, Tested
from connector_bench.headlines import MAIN_LOSSES
from connector_bench.metrics import metric

LAST = len(MAIN_LOSSES) + 1
"""Place of a loss that stands for nothing but itself."""


def rank(loss: str) -> int:
    """Place of a loss among the main ones, then overlap at any other k, then `LAST`."""
    if loss in MAIN_LOSSES:
        return MAIN_LOSSES.index(loss)
    entry = metric(loss.removeprefix("1 - "))
    overlap = entry is not None and entry.family == "overlap" and entry.corrects is None
    return len(MAIN_LOSSES) if overlap else LAST


def headline(pairs: Sequence[Pair]) -> Pair | None:
    """The pair that stands for a table: its main loss and the task's first score."""
    first = [pair for pair in pairs if pair.score == pairs[0].score]
    return min(first, key=lambda pair: rank(pair.loss), default=None)


def of_itself(table: JoinedTable) -> bool:
    """Whether overlap stands beside the same task's label retrieval."""
    return table.connector_task == table.score_task


def title_of(table: JoinedTable) -> str:
    """A connector task beside another, or beside its own label retrieval."""
    other = "its own label retrieval" if of_itself(table) else table.score_task
    return f"{table.connector_task} beside {other}"


def anchor(table: JoinedTable) -> str:
    """Name for charts and tables of one table; different tables have different ones."""
    names = (table.connector_task, table.score_task)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
    return f"association-{re.sub(r'[^A-Za-z0-9_]+', '-', '-'.join(names))[:60]}-{digest}"


def size(found: Sequence[Pair] | Sequence[Grounded]) -> str:
    """How many documents and images (and groups of them that were drawn together) figures rest on; a range where not
    every document has every loss."""
    documents, images = ({getattr(one, name) for one in found} for name in ("documents", "images"))
    groups = {one.draws for one in found if one.draws is not None}
    together = f" in {_range(groups)} groups that were drawn together" if groups else ""
    return f"N = {_range(documents)} documents about {_range(images)} images{together}"


def _range(numbers: set[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{high:,}" if low == high else f"{low:,} to {high:,}"


def verdict(tested: Tested) -> str:
    """A remark behind a figure that is not significant."""
    return "" if tested.significant else " (not significant)"
