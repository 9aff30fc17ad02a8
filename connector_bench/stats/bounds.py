"""Figures that are known from one side alone: what more training images of the probes would move one way only."""

from __future__ import annotations

from typing import Literal

Bound = Literal["at most", "at least"]
SIGNS: dict[Bound, str] = {"at most": "≤ ", "at least": "≥ "}
"""What stands before such a figure, wherever it is shown."""
OF_THE_BEST_PROBE: dict[str, Bound] = {
    "lost": "at most",
    "nmse": "at most",
    "r2_best": "at least",
    "cosine": "at least",
}
"""By metric, in the catalogue's names."""


def bound_of(metric: str, more_data_helps: bool | None) -> Bound | None:
    """What a run's figure is a bound of, by whether its record says that more training images still help."""
    return OF_THE_BEST_PROBE.get(metric) if more_data_helps else None
