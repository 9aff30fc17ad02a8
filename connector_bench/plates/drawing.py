"""Neighbour plates: a query image, its nearest images before and after the connector, kept and lost ones
marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from connector_bench.atomic_files import appearing

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class _Mark:
    sign: str
    colour: str
    line: str


# Told apart with any colour vision (after Okabe and Ito); sign and line style say the same without colour.
_KEPT = _Mark("✓ kept", "#0072B2", "-")
_LOST = _Mark("✗ lost", "#D55E00", "--")
_NEW = _Mark("+ new", "#A06A00", ":")


def worst(overlap: Float[np.ndarray, " n"], count: int) -> Int[np.ndarray, " c"]:
    """The images that keep the fewest neighbours, worst first; ties go to the lower index.

    Raises:
        ValueError: count below 1.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    return np.argsort(overlap, kind="stable")[:count]


def neighbour_plate(
    path: str | Path,
    image: Callable[[int], Any],
    queries: Sequence[int] | Int[np.ndarray, " q"],
    pre_neighbours: Int[np.ndarray, "n c"],
    post_neighbours: Int[np.ndarray, "n c"],
    *,
    columns: int = 5,
    captions: Sequence[str] | Mapping[int, str] | None = None,
    title: str = "",
) -> Path:
    """Draw a PNG with two rows a query: its nearest images before the connector, and after it.

    A neighbour is *kept* if it is among the first `columns` on both sides, *lost* if only before, *new* if
    only after.

    Args:
        path: the file to write; its folder must exist.
        image: gives the picture of an index, as anything `numpy.asarray` turns into `[h, w]` or `[h, w, 3 or
        4]`.
        queries: indices of the images to show.
        pre_neighbours: neighbours before the connector, nearest first, as `knn.neighbours` gives them.
        post_neighbours: neighbours after it.
        columns: how many neighbours to show.
        captions: one short text per image of the set (of those that are shown at least), under each picture.
        title: a line above the plate.

    Raises:
        ValueError: no queries, an index outside the set, or more columns than neighbours.
    """
    pre_neighbours, post_neighbours = np.asarray(pre_neighbours), np.asarray(post_neighbours)
    n, searched = pre_neighbours.shape
    if pre_neighbours.shape != post_neighbours.shape or not 1 <= columns <= searched:
        shapes = f"{pre_neighbours.shape} and {post_neighbours.shape}"
        raise ValueError(f"cannot show {columns} neighbours from lists of shape {shapes}")
    if not len(queries) or not all(0 <= query < n for query in queries):
        raise ValueError(f"queries must be indices in 0..{n - 1}, at least one; got {list(queries)}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(1.55 * (columns + 1.15), 3.5 * len(queries) + (0.5 if title else 0.1)), layout="constrained"
    )
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(_plain(title), fontsize=11)
    widths = [1.15] + [1.0] * columns
    cells = figure.subplots(
        2 * len(queries), columns + 1, squeeze=False, gridspec_kw={"width_ratios": widths}
    )
    for place, query in enumerate(map(int, queries)):
        before, after = (side[query, :columns].tolist() for side in (pre_neighbours, post_neighbours))
        above, below = cells[2 * place], cells[2 * place + 1]
        _show(above[0], image(query), _caption(captions, query, "query" if captions else f"query {query}"))
        _say(below[0], f"{len(set(before) & set(after))} of {columns}\nkept")
        above[1].set_title("before the connector", loc="left", fontsize=8)
        below[1].set_title("after the connector", loc="left", fontsize=8)
        for cell, index in zip(above[1:], before, strict=True):
            _show(cell, image(index), _caption(captions, index), _KEPT if index in after else _LOST)
        for cell, index in zip(below[1:], after, strict=True):
            _show(cell, image(index), _caption(captions, index), _KEPT if index in before else _NEW)
    path = Path(path).expanduser()
    with appearing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png", metadata={"Software": None})
    return path


def _caption(captions: Sequence[str] | Mapping[int, str] | None, index: int, start: str = "") -> str:
    return "\n".join(
        part for part in (start, _plain(captions[index]) if captions is not None else "") if part
    )


def _plain(text: str) -> str:
    """No formula of matplotlib's."""
    return text.replace("$", r"\$")


def _show(cell: Axes, picture: Any, caption: str, mark: _Mark | None = None) -> None:
    pixels = np.asarray(picture)
    cell.imshow(pixels, cmap="gray" if pixels.ndim == 2 else None)
    cell.set_xticks([])
    cell.set_yticks([])
    text = caption if mark is None else f"{mark.sign}\n{caption}".rstrip()
    cell.set_xlabel(text, fontsize=8, color="black" if mark is None else mark.colour)
    for side in cell.spines.values():
        side.set_visible(mark is not None)
        if mark is not None:
            side.set(edgecolor=mark.colour, linewidth=3, linestyle=mark.line)


def _say(cell: Axes, text: str) -> None:
    cell.set_axis_off()
    cell.text(0.5, 0.5, text, ha="center", va="center", fontsize=10, transform=cell.transAxes)
