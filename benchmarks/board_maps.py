"""The picture of loss maps in the README, from a board alone: the same pictures for every connector, once.

python -m benchmarks.board_maps leaderboard docs/pictures/loss_maps.png [mlp rank32 rank8 resampler]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from connector_bench.leaderboard.board_files import stored_runs
from connector_bench.leaderboard.schema import StoredLossMap
from connector_bench.number_style import LOSS_COLOURS, LOSS_RANGE, number

TASK = "patch_reconstruction"
CONNECTORS = ("mlp", "rank32", "rank8", "resampler")
ENDS = ("0: rebuilt whole", "1 and more: no better\nthan the mean patch")


def maps_of(board: Path, connectors: Sequence[str]) -> dict[str, tuple[StoredLossMap, ...]]:
    """Maps of the first seed of each connector of the zoo. KeyError where a board has none of one."""
    runs = {run.model: run for run in stored_runs(board) if TASK in run.tasks}
    return {name: runs[f"connector_zoo/{name}-seed0"].tasks[TASK].loss_maps for name in connectors}


def drawn(board: Path, connectors: Sequence[str]) -> Figure:
    """The pictures above, a row of maps for each connector below, and one bar of colours."""
    found = maps_of(board, connectors)
    pictures = next(iter(found.values()))
    scale = Normalize(*LOSS_RANGE)
    figure = Figure(figsize=(1.55 * len(pictures) + 1.2, 1.55 * (1 + len(found)) + 0.6), layout="constrained")
    axes = figure.subplots(1 + len(found), len(pictures), squeeze=False)
    for axis, shown in zip(axes[0], pictures, strict=True):
        axis.imshow(Image.open(board / str(shown.picture)).convert("RGB"))
    for row, (name, maps) in zip(axes[1:], found.items(), strict=True):
        for axis, shown in zip(row, maps, strict=True):
            values = np.array(shown.values).reshape(shown.rows, shown.columns)
            axis.imshow(values, cmap=LOSS_COLOURS, norm=scale, interpolation="nearest")
            axis.set_xlabel(number(float(values.mean())), fontsize=8)
        row[0].set_ylabel(name, fontsize=10)
    axes[0][0].set_ylabel("picture", fontsize=10)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    bar = figure.colorbar(
        ScalarMappable(scale, LOSS_COLOURS), ax=list(axes.flat), orientation="horizontal", aspect=60
    )
    bar.set_ticks(list(LOSS_RANGE), labels=ENDS)
    bar.set_label("error of a patch; below each map its mean", fontsize=9)
    return figure


if __name__ == "__main__":
    board, target, *named = sys.argv[1:]
    drawn(Path(board), named or CONNECTORS).savefig(target, dpi=110, metadata={"Software": None})
