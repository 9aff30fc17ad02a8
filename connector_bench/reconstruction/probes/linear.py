"""Ridge probes alone, from moments alone: for the controls, which are many and want neither samples nor training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.cells import CellShape
from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.end_to_end import image_of_patch, mean_tokens, rebuilt
from connector_bench.reconstruction.folds import Fold
from connector_bench.reconstruction.probes.moments import Moments, MomentsStream
from connector_bench.reconstruction.probes.ridge import Affine, choose
from connector_bench.types import Tile, TokenLayout, TokenPair


@dataclass(frozen=True, eq=False)
class LinearControl:
    """A linear map of every patch on its own: identity, rotation or projection."""

    name: str
    matrix: Float[Tensor, "d r"]

    def __call__(self, pair: TokenPair) -> TokenPair:
        """The pair that a connector of this matrix would have made, tokens in the patches' places."""
        return replace(pair, post=(pair.pre.double() @ self.matrix).float(), layout=one_to_one(pair.layout))


def one_to_one(layout: TokenLayout) -> TokenLayout:
    """The layout of a connector that keeps every patch; in one row where nobody knows where they lie."""
    if layout.unplaced:
        row = (1, layout.unplaced)
        return TokenLayout((Tile(row, row),), layout.unplaced)
    tiles = tuple(replace(tile, post_grid=tile.pre_grid) for tile in layout.tiles)
    return TokenLayout(tiles, layout.n_pre)


def identity(width: int) -> LinearControl:
    """Hands patches on unchanged."""
    return LinearControl("identity", torch.eye(width, dtype=torch.float64))


def rotation(width: int, seed: int = 0) -> LinearControl:
    """A random orthogonal matrix, uniform over rotations and reflections (Mezzadri 2007)."""
    q, r = torch.linalg.qr(_gaussian(width, width, seed))
    return LinearControl("rotation", q * r.diagonal().sign())


def projection(width: int, rank: int, seed: int = 0) -> LinearControl:
    """Onto `rank` random directions; ValueError where there are not so many."""
    if not 1 <= rank <= width:
        raise ValueError(f"cannot project {width} dimensions onto {rank}")
    return LinearControl(f"rank{rank}", torch.linalg.qr(_gaussian(width, rank, seed))[0])


def _gaussian(rows: int, columns: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


Part = Literal["training", "validation"]
PARTS: tuple[Part, ...] = ("training", "validation")
POOLED: CellShape = (0, 0)
"""Stands for the whole picture: the mean token against the mean patch, where tokens have no place."""


def part_of(fold: Fold) -> Part:
    """Training or validation: controls have no learning curve."""
    return "validation" if fold == "validation" else "training"


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """An affine map for each shape of cell."""

    maps: dict[CellShape, Affine]

    @torch.no_grad()
    def predict(
        self,
        post: Float[Tensor, "n_post d_post"],
        layouts: tuple[TokenLayout, ...],
        mean: Float[Tensor, " d"],
    ) -> Float[Tensor, "n_pre d"]:
        """Patches of images end to end in their units, float64; `mean` where no training image had such a cell."""
        if POOLED in self.maps:
            return self.maps[POOLED](mean_tokens(post, layouts))[image_of_patch(layouts, post.device)]
        return rebuilt(post, layouts, mean, self.maps)

    def to(self, device: torch.device) -> LinearProbe:
        """The same on a device."""
        return LinearProbe({shape: affine.to(device) for shape, affine in self.maps.items()})

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Everything under `prefix.`, for safetensors."""
        stored: dict[str, Tensor] = {}
        for (rows, columns), affine in self.maps.items():
            head = f"{prefix}.{rows}x{columns}"
            stored |= {f"{head}.weight": affine.weight, f"{head}.bias": affine.bias}
        return stored

    @classmethod
    def from_tensors(cls, prefix: str, tensors: Mapping[str, Tensor]) -> LinearProbe:
        """The inverse of `tensors`."""
        head = f"{prefix}."
        shapes = {name[len(head) :].split(".")[0] for name in tensors if name.startswith(head)}
        maps = {}
        for shape in sorted(shapes):
            rows, columns = map(int, shape.split("x"))
            maps[(rows, columns)] = Affine(tensors[f"{head}{shape}.weight"], tensors[f"{head}{shape}.bias"])
        return cls(maps)


class LinearSample:
    """Moments of one connector's tokens and their patches, by shape of cell."""

    def __init__(self, config: ReconstructionConfig) -> None:
        self.config = config
        self._moments: dict[CellShape, dict[Part, MomentsStream]] = {}

    def add(self, part: Part, shape: CellShape, x: Float[Tensor, "n d"], y: Float[Tensor, "n m"]) -> None:
        """Take cells of one shape of images of one part; of whole pictures under `POOLED`."""
        self._streams(shape, x.shape[1], y.shape[1])[part].add(x, y)

    def _streams(self, shape: CellShape, d: int, m: int) -> dict[Part, MomentsStream]:
        if shape not in self._moments:
            config = self.config
            self._moments[shape] = {
                part: MomentsStream(d, m, config.chunk_rows, config.sums) for part in PARTS
            }
        return self._moments[shape]

    def absorb(self, other: LinearSample) -> None:
        """Add the sample of other images."""
        for shape, streams in other._moments.items():
            for part, stream in streams.items():
                moments = stream.value()
                self._streams(shape, *moments.xy.shape)[part].absorb(moments)

    def fit(self, device: torch.device) -> LinearProbe:
        """A ridge for each shape of cell, its penalty chosen on the validation images; made there, kept on the CPU."""
        fitted = {}
        for shape, streams in self._moments.items():
            training = streams["training"].value().to(device)
            if training.n:
                validation = streams["validation"].value().to(device)
                fitted[shape] = choose(training, validation, self.config.penalties).affine.to("cpu")
        return LinearProbe(fitted)

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Everything under `prefix.`, for safetensors."""
        stored: dict[str, Tensor] = {}
        for (rows, columns), streams in self._moments.items():
            for part, stream in streams.items():
                stored |= stream.tensors(f"{prefix}.{rows}x{columns}.{part}")
        return stored

    def load(self, prefix: str, tensors: Mapping[str, Tensor]) -> None:
        """Take in what `tensors` wrote."""
        head = f"{prefix}."
        for name in sorted(tensors):
            if name.startswith(head) and name.endswith(".xy"):
                shape, part, _ = name[len(head) :].split(".")
                rows, columns = map(int, shape.split("x"))
                streams = self._streams((rows, columns), *tensors[name].shape)
                own: Part = "training" if part == "training" else "validation"
                streams[own].load(f"{head}{shape}.{part}", tensors)


def mapped(patches: Moments, matrix: Float[Tensor, "d r"]) -> Moments:
    """Moments of `patch @ matrix` against the patch, from those of the patches alone: no second pass over data."""
    if patches.n == 0:
        return Moments.zeros(*reversed(matrix.shape)).to(matrix.device)
    return Moments(
        patches.n,
        patches.mean_x @ matrix,
        patches.mean_x,
        matrix.T @ patches.xx @ matrix,
        matrix.T @ patches.xx,
        patches.xx.diagonal().clone(),
    )
