"""InternVL: tiles row by row, a thumbnail last; the pixel shuffle runs before the connector's module."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from connector_bench.connectors.family import Family
from connector_bench.connectors.places import thumbnail_last, tiles
from connector_bench.connectors.tilings import cropped_grid


def shuffle(config: Any) -> int:
    """Side of the block of patches that the pixel shuffle folds into one row."""
    return round(1 / config.downsample_ratio)


INTERNVL = Family(
    model_types=("internvl",),
    connector="pixel shuffle + mlp",
    modules=("model.multi_modal_projector",),
    place=tiles(thumbnail_last(cropped_grid), block_order=shuffle),
    leading_norm="layer_norm",
    tokens_per_row=lambda config: shuffle(config) ** 2,
    dropped="CLS (before the connector)",
    note="the pixel shuffle before the module is undone, so that pre is one token a patch",
)

QIANFAN_OCR = replace(INTERNVL, model_types=("qianfan_ocr",))
"""The same pixel shuffle and perceptron behind a tower of its own."""

FAMILIES = (INTERNVL, QIANFAN_OCR)
