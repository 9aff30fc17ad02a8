"""Connectors whose loss is known beforehand, made from the same images: the oracles of every figure.

| control | what the connector does | what must come out |
|---|---|---|
| identity | hands the patches on | R2 = 1 |
| rotation | a random rotation of each patch | R2 = 1 |
| rank-r | projects each patch to r random directions | ridge R2 = `best_linear_r2` of the covariance |
| shuffled | tokens of another image, against patches in random order | R2 <= 0 |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from connector_bench.reconstruction.folds import unit_keys
from connector_bench.types import TokenLayout, TokenPair


@dataclass(frozen=True, eq=False)
class LinearControl:
    """A linear map of every patch on its own: identity, rotation or projection."""

    name: str
    matrix: Float[Tensor, "d r"]

    def __call__(self, pair: TokenPair) -> TokenPair:
        """The pair that a connector of this matrix would have made, tokens in the patches' places."""
        return replace(pair, post=(pair.pre.double() @ self.matrix).float(), layout=one_to_one(pair.layout))


def one_to_one(layout: TokenLayout) -> TokenLayout:
    """The layout of a connector that keeps every patch."""
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


def shuffled(pairs: Iterable[tuple[str, TokenPair]]) -> Iterator[tuple[str, TokenPair]]:
    """Each image's patches in random order, with the tokens of the image before (the last's for the first).

    Both are broken, picture and place: patches at the same place of two pictures are alike enough to be
    predicted. ValueError for fewer than two images. An image whose layout differs from the one before it is
    left out.
    """
    first: tuple[str, TokenPair] | None = None
    previous: TokenPair | None = None
    count = 0
    for image_id, pair in pairs:
        count += 1
        if previous is None:
            first = image_id, pair
        elif previous.layout == pair.layout:
            yield image_id, _mismatched(image_id, pair, previous)
        previous = pair
    if first is None or previous is None or count < 2:
        raise ValueError("shuffling takes at least two images")
    if previous.layout == first[1].layout:
        yield first[0], _mismatched(first[0], first[1], previous)


def _mismatched(image_id: str, pair: TokenPair, other: TokenPair) -> TokenPair:
    keys = unit_keys(image_id, len(pair.pre), salt="shuffled")
    order = torch.from_numpy(keys.argsort(kind="stable"))
    normed = None if pair.pre_normed is None else pair.pre_normed[order]
    return replace(pair, pre=pair.pre[order], pre_normed=normed, post=other.post)
