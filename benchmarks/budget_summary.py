"""What the study of the budget says: losses by budget, what a doubling gains, and how the order of connectors moves.

python -m benchmarks.budget_summary budget.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from itertools import combinations, pairwise
from pathlib import Path
from statistics import mean
from typing import Any

from scipy.stats import kendalltau
from tabulate import tabulate

Fit = Mapping[str, Any]
ONE_PROBE = ("base", "steps /4", "steps x4", "another seed")
"""Candidates that are one probe, trained for longer or shorter."""


def lost(fit: Fit) -> float:
    value: float = 1 - fit["test_r2"]
    return value


def best(fits: list[Fit]) -> Fit:
    """The one that was best on the validation scenes."""
    return max(fits, key=lambda fit: max(r2 for _, r2 in fit["validation_r2"]))


def by_scenes(fits: list[Fit], names: tuple[str, ...] = ONE_PROBE) -> dict[int, Fit]:
    """The best of some candidates at each number of training scenes, fewest first."""
    sizes = sorted({fit["scenes"] for fit in fits if fit["name"] in names})
    return {
        size: best([fit for fit in fits if fit["scenes"] == size and fit["name"] in names]) for size in sizes
    }


def named(fits: list[Fit], name: str, scenes: int) -> Fit | None:
    return next((fit for fit in fits if fit["name"] == name and fit["scenes"] == scenes), None)


def losses(found: Mapping[str, Any]) -> str:
    """`lost` of every connector at every number of scenes, and what the last doubling gained."""
    sizes = sorted({size for own in found["connectors"].values() for size in by_scenes(own["fits"])})
    rows = []
    for name, own in found["connectors"].items():
        fits: list[Fit] = own["fits"]
        curve = by_scenes(fits)
        today = named(fits, "today", min((f["scenes"] for f in fits if f["name"] == "today"), default=0))
        values = [lost(curve[size]) if size in curve else None for size in sizes]
        last = [lost(fit) for fit in curve.values()][-2:]
        largest = lost(best(fits))
        ridge = 1 - fits[0]["ridge_r2"]
        gain = last[0] - last[1] if len(last) == 2 else None
        rows.append([name, ridge, today and lost(today), *values, gain, largest])
    heads = [
        "connector",
        "ridge",
        "today",
        *(f"{size:,} scenes" for size in sizes),
        "last doubling",
        "best of all",
    ]
    return tabulate(rows, headers=heads, floatfmt=".4f", tablefmt="github")


def order(found: Mapping[str, Any]) -> str:
    """Kendall's tau between the connectors' losses at one number of scenes and at twice as many, and who swaps."""
    curves = {name: by_scenes(own["fits"]) for name, own in found["connectors"].items()}
    sizes = sorted({size for curve in curves.values() for size in curve})
    rows = []
    for few, many in pairwise(sizes):
        both = [name for name, curve in curves.items() if few in curve and many in curve]
        if len(both) < 3:
            continue
        before, after = ([lost(curves[name][size]) for name in both] for size in (few, many))
        swapped = [
            f"{a} and {b}"
            for (i, a), (j, b) in combinations(enumerate(both), 2)
            if (before[i] - before[j]) * (after[i] - after[j]) < 0
        ]
        tau = float(kendalltau(before, after).statistic)
        rows.append([f"{few:,} to {many:,} scenes", len(both), tau, ", ".join(swapped) or "none"])
    return tabulate(
        rows,
        headers=["budget", "connectors", "Kendall's tau", "pairs that swap"],
        floatfmt=".3f",
        tablefmt="github",
    )


def candidates(found: Mapping[str, Any]) -> str:
    """What each candidate gains over `base` on the same scenes, and its seconds over base's, over connectors."""
    gains: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    for own in found["connectors"].values():
        for fit in own["fits"]:
            base = named(own["fits"], "base", fit["scenes"])
            if base is None or base is fit or lost(base) < 1e-4:
                continue
            kind = f"{fit['name']}{'' if own['placed'] else ' (attention)'}"
            gains.setdefault(kind, []).append(lost(base) - lost(fit))
            ratios.setdefault(kind, []).append(fit["seconds"] / base["seconds"])
    rows = [[kind, len(of), mean(of), min(of), max(of), mean(ratios[kind])] for kind, of in gains.items()]
    heads = ["candidate", "fits", "mean gain of R2 over base", "least", "most", "seconds over base's"]
    return tabulate(sorted(rows, key=_by_gain), headers=heads, floatfmt=".4f", tablefmt="github")


def _by_gain(row: list[Any]) -> float:
    return -float(row[2])


def summary(found: Mapping[str, Any]) -> str:
    """All three tables."""
    parts: tuple[Callable[[Mapping[str, Any]], str], ...] = (losses, order, candidates)
    return "\n\n".join(part(found) for part in parts)


if __name__ == "__main__":
    print(summary(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
