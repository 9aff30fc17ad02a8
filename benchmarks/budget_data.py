"""Scenes beyond the committed ones, encoded once, and every zoo connector's tokens of them on one device."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from connector_bench.zoo.connectors import GRID, Layout, group_2x2
from connector_bench.zoo.shipped import load
from connector_bench.zoo.splits import SPLITS, make_scene

CHUNK = 40
"""Scenes that a process makes and the encoder takes at once."""


def _pixels(task: tuple[str, int, int]) -> UInt8[np.ndarray, "n 224 224 3"]:
    """Scenes `first` to `end` of a split, which may hold more than the committed one: one stream each scene."""
    name, first, end = task
    split = replace(SPLITS[name], scenes=end)
    return np.stack([make_scene(split, index)[0].image for index in range(first, end)])


@torch.inference_mode()
def encoded(parts: dict[str, int], device: torch.device, workers: int) -> dict[str, Tensor]:
    """The encoder's tokens of so many scenes of each split, `[n, 196, 112]`, float32, on the device."""
    from connector_bench.zoo.encoder import load_encoder, normalise

    torch.backends.cudnn.allow_tf32 = False
    encoder = load_encoder().to(device)
    tasks = [
        (name, first, min(first + CHUNK, count))
        for name, count in parts.items()
        for first in range(0, count, CHUNK)
    ]
    found: dict[str, list[Tensor]] = {name: [] for name in parts}
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as processes:
        for (name, _, _), pixels in zip(tasks, processes.map(_pixels, tasks), strict=True):
            found[name].append(encoder(normalise(torch.from_numpy(pixels).to(device))))
    torch.backends.cudnn.allow_tf32 = True
    return {name: torch.cat(tokens).clone() for name, tokens in found.items()}


@dataclass(frozen=True, eq=False)
class Sides:
    """Both sides of a connector for some scenes."""

    pre: Float[Tensor, "n 196 112"]
    post: Float[Tensor, "n m 128"]

    def __len__(self) -> int:
        return len(self.pre)

    def first(self, scenes: int) -> Sides:
        """The first so many scenes."""
        return Sides(self.pre[:scenes], self.post[:scenes])


@dataclass(frozen=True, eq=False)
class Connected:
    """A trained zoo connector's tokens: of scenes to learn from, to choose by, and to test on."""

    name: str
    layout: Layout
    training: Sides
    validation: Sides
    test: Sides

    @classmethod
    @torch.inference_mode()
    def of(cls, name: str, seed: int, pre: dict[str, Tensor], validation: int) -> Connected:
        """`pre` as `encoded` gives it; the last `validation` scenes of `probe` are those to choose by."""
        model = load(name, seed)
        module = model.connector.to(pre["test"].device)
        sides = {part: Sides(tokens, _through(module, tokens)) for part, tokens in pre.items()}
        learnt = len(sides["probe"]) - validation
        kept = Sides(sides["probe"].pre[learnt:], sides["probe"].post[learnt:])
        return cls(name, model.layout, sides["probe"].first(learnt), kept, sides["test"])


def _through(module: nn.Module, pre: Tensor) -> Tensor:
    return torch.cat([module(part) for part in pre.split(256)]).clone()


def cell_rows(sides: Sides, layout: Layout, context: bool) -> tuple[Tensor, Tensor]:
    """Tokens and their cells of patches, row by row; with `context` a token comes with its eight neighbours."""
    y = sides.pre if layout.tokens == GRID * GRID else group_2x2(sides.pre).flatten(2)
    x = _with_neighbours(sides.post, layout) if context else sides.post
    return x.flatten(0, 1), y.flatten(0, 1)


def _with_neighbours(post: Float[Tensor, "n m d"], layout: Layout) -> Float[Tensor, "n m 9d"]:
    """Tokens beyond the border are those on it."""
    assert layout.grid is not None
    rows, columns = layout.grid
    grid = post.unflatten(1, layout.grid).movedim(-1, 1)
    padded = F.pad(grid, (1, 1, 1, 1), mode="replicate").movedim(1, -1)
    shifted = [padded[:, r : r + rows, c : c + columns] for r, c in _offsets()]
    return torch.cat(shifted, dim=-1).flatten(1, 2)


def _offsets() -> Iterator[tuple[int, int]]:
    return ((row, column) for row in range(3) for column in range(3))
