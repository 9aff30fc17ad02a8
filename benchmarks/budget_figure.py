"""The picture of the study of the budget in docs/RECONSTRUCTION.md, and the JSON behind it without learning curves.

python -m benchmarks.budget_figure budget.json docs/probe_budget.json docs/pictures/probe_budget.png
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.budget_summary import by_scenes, lost

STEADY = 0.005
CONTEXT = "3x3 tokens"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B", "#7F7F7F")
LEFT_OUT = ("validation_r2", "patches", "averaged", "rows")


def compact(found: Mapping[str, Any]) -> dict[str, Any]:
    """Every fit with its budget and figures; of its validation curve the best value alone."""
    kept = {key: value for key, value in found.items() if key != "connectors"}
    kept["connectors"] = {
        name: {**own, "fits": [_short(fit) for fit in own["fits"]]}
        for name, own in found["connectors"].items()
    }
    return kept


def _short(fit: Mapping[str, Any]) -> dict[str, Any]:
    short = {
        key: float(f"{value:.5g}") if isinstance(value, float) else value
        for key, value in fit.items()
        if key not in LEFT_OUT
    }
    best = max(fit["validation_r2"], key=lambda point: point[1])
    return {**short, "validation_r2": [[best[0], float(f"{best[1]:.6g}")]]}


def drawn(found: Mapping[str, Any]) -> Figure:
    """Losses by number of training scenes, and what the last doubling gained."""
    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    curves, gains = figure.subplots(1, 2, width_ratios=[1.5, 1])
    names = [name for name, own in found["connectors"].items() if len(by_scenes(own["fits"])) > 1]
    for name, colour in zip(names, COLOURS, strict=False):
        fits = found["connectors"][name]["fits"]
        for of, style in ((by_scenes(fits), "o-"), (by_scenes(fits, CONTEXT), "s:")):
            values = [lost(fit) for fit in of.values()]
            label = name if style == "o-" else None
            curves.plot(list(of), values, style, color=colour, label=label, markersize=4, linewidth=1.2)
    curves.set_xscale("log", base=2)
    sizes = sorted({size for name in names for size in by_scenes(found["connectors"][name]["fits"])})
    curves.set_xticks(sizes, [f"{size:,}" for size in sizes])
    curves.set_xlabel("training scenes")
    curves.set_ylabel("patch variance lost")
    curves.set_title("own token (circles), with its eight neighbours (squares)", fontsize=10)
    figure.legend(loc="outside lower center", fontsize=8, ncols=len(names))
    _gains(gains, found, names)
    return figure


def _gains(axes: Axes, found: Mapping[str, Any], names: list[str]) -> None:
    for place, name in enumerate(names):
        fits = found["connectors"][name]["fits"]
        for of, marker in ((by_scenes(fits), "o"), (by_scenes(fits, CONTEXT), "s")):
            if len(of) > 1:
                before, after = list(of.values())[-2:]
                axes.plot(
                    lost(before) - lost(after), place, marker, color=COLOURS[place], markersize=5, mfc="none"
                )
    axes.axvline(STEADY, color="#555555", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("R² gained by the last doubling of scenes")


def main() -> None:
    source, kept, picture = map(Path, sys.argv[1:4])
    found = compact(json.loads(source.read_text(encoding="utf-8")))
    kept.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")
    drawn(found).savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
