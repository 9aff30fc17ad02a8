"""What two results of one task must share to be compared, and what keeps them apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from connector_bench.protocol import PLACES_NOT_KNOWN, respelled
from connector_bench.results.scrub import cleaned
from connector_bench.results.tasks import TaskRun

UNRECORDED: tuple[object, ...] = (None, {})
HOW_FAST = ("device", "chunk_rows", "sums")
"""Options that change no figure beyond rounding."""
NO_CONDITION = (*HOW_FAST, "drawn_together")
"""Options that keep no results apart: of images drawn together intervals are wider, figures are the same."""
UNDECLARED = "undeclared"


def kind_of_probes(names: Collection[str]) -> str:
    """Which probes a patch reconstruction rests on: `lost` of one kind says nothing beside `lost` of another."""
    kinds = [kind for kind, probe in (("per cell", "mlp"), ("attention", "attention")) if probe in names]
    return f"probes {' and '.join(kinds)}" if kinds else "no trained probes"


def conditions_of(task: TaskRun) -> dict[str, object]:
    """How a task of ours was measured, by condition; empty for any other task.

    Layout and kind of probe count for patch reconstruction, where they say which patches a token answers for.
    """
    record = task.record
    if not record:
        return {}
    options = cleaned(respelled(record.get("options") or {})[0])
    found: dict[str, object] = {
        "protocol": record.get("protocol"),
        "train_sha256": record.get("train_sha256"),
        **{f"option {name}": value for name, value in options.items() if name not in NO_CONDITION},
    }
    if record.get("probes"):
        found |= {
            "layout": layout_of(record.get("connector") or {}),
            "kind": kind_of_probes(record["probes"]),
        }
    return found


def layout_of(connector: Mapping[str, Any]) -> str:
    """Whether anybody knows where the connector's tokens lie, as the record of a run has it."""
    if places_taken_away(connector):
        return f"places {PLACES_NOT_KNOWN}"
    assumed = [text for text in connector.get("assumptions") or () if UNDECLARED in text]
    return f"layout {UNDECLARED}" if assumed else "layout declared"


def places_taken_away(connector: Mapping[str, Any]) -> bool:
    """Whether the run measured without the places of tokens, since planted patches were not where they should be."""
    return str(connector.get("places") or "").startswith(PLACES_NOT_KNOWN)


def differing(first: Mapping[str, object], second: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    """Both values of every condition that differs; what one side did not record keeps nothing apart."""
    pairs = {name: (first[name], second[name]) for name in first if name in second}
    return {
        name: (a, b)
        for name, (a, b) in pairs.items()
        if a != b and a not in UNRECORDED and b not in UNRECORDED
    }
