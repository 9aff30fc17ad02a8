"""Ovis 1.6 and 2, by their own code: patches become probabilities of visual words; their embeddings are mixed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.connectors.boxes import centred, within
from connector_bench.connectors.execution import on_device
from connector_bench.connectors.families.ovis2 import as_probabilities
from connector_bench.connectors.family import Batch, Family, PictureSize, Placement
from connector_bench.connectors.uneven import absent_at_the_end, placement_of, uneven_tiles
from connector_bench.types import WHOLE_PICTURE, Box, Grid

if TYPE_CHECKING:
    from torch import Tensor

    from connector_bench.connectors.uneven import Part

END_OF_ROW = -304
"""What the model's own preprocessing writes between two rows of tiles."""


def _pixels(inputs: Mapping[str, Any]) -> Tensor:
    """Tiles of the one picture, the whole first."""
    import torch

    given = inputs["pixel_values"]
    return given if isinstance(given, torch.Tensor) else torch.cat(list(given))


def _run(model: Any, inputs: Mapping[str, Any]) -> Any:
    tokens = model.visual_tokenizer(on_device(model, {"pixels": _pixels(inputs)})["pixels"])
    return model.vte(tokens)


def _grid(inputs: Mapping[str, Any], tiles: int) -> Grid:
    """Rows and columns of tiles beside the whole, by the marks in the prompt.

    Raises:
        ValueError: the inputs hold no prompt, or one of other tiles.
    """
    import torch

    if tiles == 1:
        return 1, 1
    ids = next((inputs[name] for name in ("inputs", "input_ids", "text_input_ids") if name in inputs), None)
    rows = 1 if ids is None else 1 + int((torch.as_tensor(ids) == END_OF_ROW).sum())
    columns, rest = divmod(tiles - 1, rows)
    if ids is None or rest:
        raise ValueError(f"{tiles} tiles, and a prompt of {rows} rows: it is not known where they lie")
    return rows, columns


def _boxes(size: PictureSize, grid: Grid, side: int) -> Iterator[Box]:
    """The whole picture where it is cut, then its cuts; each keeps its shape in the middle of a padded square."""
    cuts = [(0, 0, size[1], size[0])] if math.prod(grid) > 1 else []
    height, width = size[0] // grid[0], size[1] // grid[1]
    for row in range(grid[0]):
        for column in range(grid[1]):
            right = size[1] if column == grid[1] - 1 else (column + 1) * width
            below = size[0] if row == grid[0] - 1 else (row + 1) * height
            cuts.append((column * width, row * height, right, below))
    for left, above, right, below in cuts:
        wide, high = right - left, below - above
        shown = (
            (int(high / wide * side), side)
            if wide > high
            else (side, side if wide == high else int(wide / high * side))
        )
        cut = left / size[1], above / size[0], right / size[1], below / size[0]
        yield within(within(WHOLE_PICTURE, cut), centred(shown, (side, side)))


def _place(batch: Batch) -> list[Placement]:
    vision = batch.config.visual_tokenizer_config
    stride, pixels = int(vision.hidden_stride), _pixels(batch.inputs)
    side = pixels.shape[-1] // int(vision.backbone_config.patch_size)
    cells = math.ceil(side / stride)
    inside = absent_at_the_end(np.ones((side, side), dtype=int), stride) > 0
    numbers = np.arange(stride**2 * cells**2).reshape(cells, cells, stride, stride)
    numbers = numbers.transpose(0, 2, 1, 3).reshape(cells * stride, cells * stride)
    parts: list[Part] = []
    boxes = _boxes(batch.sizes[0], _grid(batch.inputs, len(pixels)), pixels.shape[-1])
    for tile, box in enumerate(boxes):
        patches = np.where(inside, tile * numbers.size + numbers, -1)
        tokens = tile * cells**2 + np.arange(cells**2).reshape(cells, cells)
        parts += uneven_tiles(patches, (stride, stride), tokens, box)
    return [placement_of(parts)]


OVIS = Family(
    model_types=("ovis",),
    connector="visual vocabulary",
    modules=("visual_tokenizer.head", "vte"),
    between_modules=as_probabilities,
    place=_place,
    tokens_per_row=lambda config: int(config.visual_tokenizer_config.hidden_stride) ** 2,
    run=_run,
    one_at_a_time=True,
    dropped="the zeros that fill up blocks at the right and lower edge",
    note="padding of the tiles is measured; embeddings of the marks around and between tiles are not",
)

FAMILIES = (OVIS,)
