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


def lost(fit: Fit) -> float:
    value: float = 1 - fit["test_r2"]
    return value


def by_scenes(fits: list[Fit], name: str = "base") -> dict[int, Fit]:
    """One candidate at each number of training scenes, fewest first."""
    return {fit["scenes"]: fit for fit in sorted(fits, key=_scenes) if fit["name"] == name}


def _scenes(fit: Fit) -> int:
    return int(fit["scenes"])


def named(fits: list[Fit], name: str, scenes: int) -> Fit | None:
    return next((fit for fit in fits if fit["name"] == name and fit["scenes"] == scenes), None)


def losses(found: Mapping[str, Any]) -> str:
    """`lost` of every connector by number of scenes, what each larger budget gains on all of them, and the least."""
    sizes = sorted({size for own in found["connectors"].values() for size in by_scenes(own["fits"])})
    rows = []
    for name, own in found["connectors"].items():
        fits: list[Fit] = own["fits"]
        curve = by_scenes(fits)
        today = next((fit for fit in fits if fit["name"] == "today"), None)
        values = [lost(curve[size]) if size in curve else None for size in sizes]
        gains = []
        if len(curve) > 1:
            *_, before, last = curve.values()
            wider = "width 2048" if own["placed"] else "width 512"
            larger = (named(fits, more, last["scenes"]) for more in ("steps x4", wider, "3x3 tokens"))
            gains = [
                lost(before) - lost(last),
                *(None if one is None else lost(last) - lost(one) for one in larger),
            ]
        least = min(map(lost, fits))
        row = [name, 1 - fits[0]["ridge_r2"], None if today is None else lost(today), *values]
        rows.append([*row, *(gains or [None] * 4), least])
    gained = ("2x scenes", "4x steps", "2x width", "3x3 tokens")
    heads = ["connector", "ridge", "today", *(f"{size:,}" for size in sizes), *gained, "least"]
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
