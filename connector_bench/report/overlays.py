"""Loss maps drawn over the picture: heat map, the ten worst patches, the answers' outlines; no paper behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import cycle
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import AbstractPathEffect, withStroke
from PIL.Image import Image

from connector_bench.number_style import LOSS_COLOURS
from connector_bench.reconstruction.lossmaps import LossMap
from connector_bench.reconstruction.patch_boxes import patch_boxes, tile_slices
from connector_bench.report.loss_scale import scale
from connector_bench.report.outline_labels import common, label_boxes
from connector_bench.types import Box, Tile

PANEL_INCHES, GAP_INCHES = 2.6, 0.12
DOTS_PER_INCH = 160
MARKED = 10
LEAST_MARKED = 0.01
"""Share of the variance below which a patch is rebuilt, and none of the worst."""
OUTLINES = ("#3fe0ff", "#8cff66", "#ffffff", "#ffd84d")
"""Colours of the first, second ... mask; all stand out from the heat, and outlines bear names besides."""
PNG: Mapping[str, Any] = MappingProxyType({"format": "png", "metadata": {"Software": None}})
"""How the image is written, as for `Figure.savefig`: the same bytes every time."""
SMALLEST_NUMBERED = 0.045
"""Width, as a share of the picture, below which a marked patch has no room for its number."""
LABEL_SIZE, LARGEST_NUMBER = 7.5, 8.5
"""Points of an outline's name, and of a patch's number at most."""
NUMBER_OF_PATCH = 0.62
"""A number's size over its patch's width, which leaves room for two digits."""


def render(
    picture: Image,
    loss_map: LossMap,
    *,
    masks: Mapping[str, Bool[np.ndarray, "rows columns"]] = MappingProxyType({}),
    encoding: Mapping[str, Any] = PNG,
    original: bool = True,
) -> bytes:
    """An image file: the picture with the masks' outlines, unless `original` is False, then a panel of heat for each
    layer of tiles.

    Each outline bears its mask's name, a number as a rule, unless that is empty. Colours are those of `loss_scale`. A
    model that sees the picture whole and in tiles gets a panel for each, so that none hides the other; between panels
    the image is transparent, so that it lies on a light and on a dark page.
    """
    layers = _layers(loss_map)
    panels = len(layers) + original
    shape = picture.height / picture.width
    width = PANEL_INCHES * panels + GAP_INCHES * (panels - 1)
    height = PANEL_INCHES * min(max(shape, 0.35), 1.6)
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    edges = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": GAP_INCHES / PANEL_INCHES}
    axes = list(figure.subplots(1, panels, squeeze=False, gridspec_kw=edges)[0])
    pixels = np.asarray(picture.convert("RGB"))
    grey = np.asarray(picture.convert("L").convert("RGB"))
    values = loss_map.loss.astype(np.float64)
    boxes: list[Box] = [tuple(box) for box in patch_boxes(loss_map.layout).tolist()]
    worst = [[boxes[patch] for patch in _worst(layer, values)] for layer in layers]
    seen = {label: mask for label, mask in masks.items() if mask.any() and not mask.all()}
    named = {label: mask for label, mask in seen.items() if label}
    em = LABEL_SIZE / (72 * PANEL_INCHES)
    labels = label_boxes(named, [box for marked in worst for box in marked], em, shape)
    if original:
        _show(axes.pop(0), pixels, seen, labels)
    for axis, layer, marked in zip(axes, layers, worst, strict=True):
        _show(axis, grey, seen, labels)
        for tile, part in layer:
            _heat(axis, tile, values[part].reshape(tile.pre_grid), shape)
        _mark_worst(axis, marked, list(labels.values()))
    buffer = BytesIO()
    figure.savefig(buffer, transparent=True, **encoding)
    return buffer.getvalue()


def panel_names(loss_map: LossMap) -> tuple[str, ...]:
    """What the panels show, from left to right."""
    layers = _layers(loss_map)
    if len(layers) == 1:
        return ("the picture", "its loss by patch")
    return ("the picture", *(f"loss by patch, {_layer_name(layer)}" for layer in layers))


def _show(axis: Axes, pixels: np.ndarray, masks: Mapping[str, np.ndarray], labels: Mapping[str, Box]) -> None:
    """The picture in coordinates from 0 to 1, y downwards, with the masks' outlines and their names."""
    axis.imshow(pixels, extent=(0, 1, 1, 0), aspect=pixels.shape[0] / pixels.shape[1])
    axis.set(xlim=(0, 1), ylim=(1, 0))
    axis.set_axis_off()
    for (label, mask), colour in zip(masks.items(), cycle(OUTLINES), strict=False):
        _outline(axis, mask, colour)
        if label:
            left, top, right, bottom = labels[label]
            name = axis.text((left + right) / 2, (top + bottom) / 2, label, color=colour, fontsize=LABEL_SIZE)
            name.set(fontweight="bold", ha="center", va="center", zorder=6)
            name.set_bbox(
                {"boxstyle": "square,pad=0.15", "facecolor": "black", "edgecolor": colour, "linewidth": 0.8}
            )


def _outline(axis: Axes, mask: np.ndarray, colour: str) -> None:
    framed = np.pad(mask, 1).astype(float)
    rows, columns = mask.shape
    x = (np.arange(-1, columns + 1) + 0.5) / columns
    y = (np.arange(-1, rows + 1) + 0.5) / rows
    axis.contour(x, y, framed, levels=[0.5], colors="black", linewidths=2.6, zorder=3)
    axis.contour(x, y, framed, levels=[0.5], colors=colour, linewidths=1.4, zorder=3)


def _heat(axis: Axes, tile: Tile, values: Float[np.ndarray, "rows columns"], aspect: float) -> None:
    left, top, right, bottom = tile.box
    axis.imshow(
        values,
        extent=(left, right, bottom, top),
        cmap=LOSS_COLOURS,
        norm=scale(),
        alpha=0.75,
        interpolation="nearest",
        aspect="auto",
        zorder=2,
    )
    axis.set(xlim=(0, 1), ylim=(1, 0))
    axis.set_aspect(aspect)


def _worst(layer: list[tuple[Tile, slice]], values: np.ndarray) -> list[int]:
    """The layer's patches of highest loss that lost anything, the worst first; equal losses in raster order."""
    shown = np.concatenate([np.arange(part.start, part.stop) for _, part in layer])
    worst = shown[np.argsort(-values[shown], kind="stable")[:MARKED]]
    return [int(patch) for patch in worst if values[patch] >= LEAST_MARKED]


def _mark_worst(axis: Axes, marked: Sequence[Box], labels: Sequence[Box]) -> None:
    """Frame the boxes and number them, 1 the first, save where an outline's name stands."""
    around: list[AbstractPathEffect] = [withStroke(linewidth=3.4, foreground="black")]
    behind: list[AbstractPathEffect] = [withStroke(linewidth=2.0, foreground="black")]
    for place, box in enumerate(marked, start=1):
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        frame = Rectangle((left, top), width, height, fill=False, edgecolor="white", linewidth=1.4, zorder=4)
        frame.set_path_effects(around)
        axis.add_patch(frame)
        if width >= SMALLEST_NUMBERED and not any(common(box, label) for label in labels):
            size = min(LARGEST_NUMBER, NUMBER_OF_PATCH * width * 72 * PANEL_INCHES)
            text = axis.text(left + width / 2, top + height / 2, str(place), color="white", fontsize=size)
            text.set(ha="center", va="center", zorder=5, clip_on=True, path_effects=behind)


def _layers(loss_map: LossMap) -> list[list[tuple[Tile, slice]]]:
    """Tiles in layers without overlap; the largest tiles in the first layer."""
    ordered = sorted(tile_slices(loss_map.layout), key=lambda item: -_area(item[0].box))
    layers: list[list[tuple[Tile, slice]]] = []
    for tile, part in ordered:
        free = next((one for one in layers if not any(_overlap(tile.box, t.box) for t, _ in one)), None)
        if free is None:
            layers.append([(tile, part)])
        else:
            free.append((tile, part))
    return layers


def _layer_name(layer: list[tuple[Tile, slice]]) -> str:
    return "one tile" if len(layer) == 1 else f"{len(layer)} tiles"


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(a: Box, b: Box) -> bool:
    """Whether two boxes share more than an edge."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return width > 1e-6 and height > 1e-6
