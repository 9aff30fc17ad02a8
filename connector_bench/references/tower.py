"""Patch tokens of a folder of pictures, from a vision tower of transformers or from that of a vision-language model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from connector_bench.connectors.alone import load_alone
from connector_bench.connectors.base import UnsupportedModel
from connector_bench.connectors.execution import chosen_device, require_device
from connector_bench.connectors.fresh import observe_loading
from connector_bench.connectors.model_class import config_of_checkpoint
from connector_bench.connectors.registry import declared_families
from connector_bench.pictures import picture_hash, reason
from connector_bench.run.documents import PictureRows
from connector_bench.types import Grid

if TYPE_CHECKING:
    from jaxtyping import Float
    from PIL.Image import Image
    from torch import Tensor

BATCH = 8
FEWEST = 10
"""Pictures for which anything can be fitted and tested."""


@dataclass(frozen=True, eq=False)
class TowerTokens:
    """Tokens of the pictures that probes learn from, and of those that are tested: fp32 on the CPU, in raster order."""

    grid: Grid
    train: Float[Tensor, "images n d"]
    test: Float[Tensor, "tested n d"]
    tested: tuple[str, ...]
    """Hashes of the tested pictures."""
    left_out: tuple[str, ...]
    """Why pictures or tiles were left out, a reason each."""

    @property
    def width(self) -> int:
        """Numbers of a token."""
        return int(self.train.shape[2])


Tiles = list[tuple[Grid, "Tensor"]]
Encode = Callable[[Sequence["Image"]], list[Tiles]]
"""From pictures to the grid and the tokens `[n, d]` of each of their tiles."""


def tower_tokens(
    tower: str, images: Path, *, limit: int | None = None, device: str = "auto", layer: int = -1
) -> TowerTokens:
    """Pass a folder of pictures through a tower; the pictures are split as `patch_reconstruction_imagefolder` does.

    Args:
        tower: folder or hub name of a vision model of transformers, or of a vision-language model.
        images: folder of pictures.
        limit: so many pictures at most, evenly spread.
        device: where the tower runs, as torch names it, or `auto`.
        layer: of a bare vision model, the layer whose output is taken; -1 is the last.

    Raises:
        UnsupportedModel: there is no tower that gives a grid of tokens.
        ValueError: there are too few pictures, or no such device or layer.
        OSError: there is no such model or folder.
    """
    from connector_bench.tasks.picture_folder import parts_below, picture

    if not images.is_dir():
        raise ValueError(f"{images} is no folder of pictures")
    device = chosen_device(device)
    require_device(device)
    encode = _encoder(tower, device, layer)
    left_out: list[str] = []
    sides: list[list[tuple[str, Grid, Tensor]]] = []
    parts = parts_below(images.resolve())
    total = sum(len(rows) for rows in parts)
    for rows in parts:
        shown = PictureRows(rows, picture, str(images))
        numbers = shown.spread(None if limit is None else max(1, round(limit * len(rows) / total)))
        sides.append(list(_passed(encode, _pictures(shown, numbers, left_out))))
    found = [grid for side in sides for _, grid, _ in side]
    if not found:
        raise ValueError(
            f"no picture below {images} could be passed: {left_out[0] if left_out else 'there is none'}"
        )
    grid = max(set(found), key=found.count)
    other = [one for one in found if one != grid]
    left_out += [f"{one[0]} x {one[1]} tokens where most have {grid[0]} x {grid[1]}" for one in other]
    train, test = ([one for one in side if one[1] == grid] for side in sides)
    if len(train) < FEWEST or not test:
        raise ValueError(
            f"{images} gives {len(train)} pictures to learn from and {len(test)} to test on; at least {FEWEST} and 1 "
            "are needed"
        )
    import torch

    return TowerTokens(
        grid,
        torch.stack([tokens for _, _, tokens in train]),
        torch.stack([tokens for _, _, tokens in test]),
        tuple(dict.fromkeys(name for name, _, _ in test)),
        tuple(left_out),
    )


def _pictures(shown: PictureRows, numbers: Sequence[int], left_out: list[str]) -> Iterator[tuple[str, Image]]:
    """Every different picture that can be read."""
    met: set[str] = set()
    for number in numbers:
        try:
            image = shown.picture(number)
        except Exception as error:  # decoders raise whatever they like
            left_out.append(f"{shown.file(number)}: {reason(error)}")
            continue
        name = picture_hash(image)
        if name not in met:
            met.add(name)
            yield name, image


def _passed(encode: Encode, pictures: Iterator[tuple[str, Image]]) -> Iterator[tuple[str, Grid, Tensor]]:
    while batch := list(islice(pictures, BATCH)):
        found = encode([image for _, image in batch])
        for (name, _), tiles in zip(batch, found, strict=True):
            for grid, tokens in tiles:
                yield name, grid, tokens


def _encoder(tower: str, device: str, layer: int) -> Encode:
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    observe_loading()
    if Path(tower).is_absolute() and not Path(tower).is_dir():
        raise FileNotFoundError(f"there is no folder {tower}")
    config = config_of_checkpoint(tower)
    declared = any(config.model_type in family.model_types for family in declared_families())
    if declared or type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return _of_vlm(tower, device)
    return _of_vision_model(tower, device, layer)


def _of_vlm(checkpoint: str, device: str) -> Encode:
    adapter = load_alone(checkpoint, device=device)

    def encode(images: Sequence[Image]) -> list[Tiles]:
        pairs = adapter.capture(images)
        if any(pair.layout.unplaced for pair in pairs):
            raise UnsupportedModel(
                f"nobody knows where the encoder's tokens of {checkpoint} lie, so they make no cells"
            )
        found = []
        for pair in pairs:
            sizes = [math.prod(tile.pre_grid) for tile in pair.layout.tiles]
            parts = zip(pair.layout.tiles, pair.pre.split(sizes), strict=True)
            found.append([(tile.pre_grid, tokens) for tile, tokens in parts])
        return found

    return encode


def _of_vision_model(tower: str, device: str, layer: int) -> Encode:
    import torch
    import transformers

    processor = transformers.AutoImageProcessor.from_pretrained(tower, trust_remote_code=False)
    whole = transformers.AutoModel.from_pretrained(tower, trust_remote_code=False)
    model = getattr(whole, "vision_model", whole).to(device).eval()
    patch = getattr(model.config, "patch_size", None)

    @torch.inference_mode()
    def encode(images: Sequence[Image]) -> list[Tiles]:
        pixels = processor(list(images), return_tensors="pt")["pixel_values"].to(device)
        layers = model(pixel_values=pixels, output_hidden_states=True).hidden_states
        if not -len(layers) <= layer < len(layers):
            raise ValueError(
                f"layer is {layer}; {type(model).__name__} has {len(layers) - 1}, 0 is before the first"
            )
        tokens = layers[layer].float().cpu()
        if tokens.ndim == 4:  # maps [channels, rows, columns], of convolutions and of timm's towers
            rows, columns = tokens.shape[2:]
            return [[((rows, columns), one.flatten(1).T.contiguous())] for one in tokens]
        if not isinstance(patch, int):
            raise UnsupportedModel(
                f"{type(model).__name__} says no patch_size and gives no map, so its tokens make no grid that is "
                "known; a ViT, a convolutional tower or a vision-language model is needed"
            )
        grid = pixels.shape[-2] // patch, pixels.shape[-1] // patch
        before = tokens.shape[1] - math.prod(grid)
        if tokens.ndim != 3 or before < 0:
            raise UnsupportedModel(
                f"{type(model).__name__} gives tokens of shape {list(tokens.shape)} for {grid[0]} x {grid[1]} patches"
            )
        return [[(grid, one[before:].clone())] for one in tokens]  # a CLS and registers come first

    return encode
