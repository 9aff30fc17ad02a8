"""What the best linear map through so many numbers loses, in closed form, and what a random one loses to a ridge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from connector_bench.reconstruction.probes.moments import Moments, MomentsStream
from connector_bench.reconstruction.probes.ridge import Affine, choose, pooled_r2
from connector_bench.references.tower import TowerTokens
from connector_bench.types import Grid
from connector_bench.zoo.connectors import cells

VALIDATION = 10
"""One picture in so many chooses a ridge's penalty."""
TOGETHER = 8
"""Pictures whose cells are taken at a time."""

Features = Callable[[Float[Tensor, "b n d"]], Float[Tensor, "b m f"]]
"""What of a batch of pictures a token of each cell is made of."""


@dataclass(frozen=True, eq=False)
class CellMoments:
    """Moments of features against the patches of their cell, on three sets of pictures."""

    training: Moments
    validation: Moments
    test: Moments

    def loss(self, map_: Affine) -> float:
        """Share of the tested patches' variance, about the training mean, that a map does not rebuild."""
        return 1 - pooled_r2(map_, self.test, self.training.mean_y)

    def ridge(self) -> Affine:
        """The linear probe, its penalty chosen on the validation pictures."""
        return choose(self.training, self.validation).affine


def whole_cell(grid: Grid, cell: int) -> Features:
    """The patches of each cell themselves, end to end."""
    return lambda pre: cells(pre, grid, cell).flatten(2)


def normed_cell(grid: Grid, cell: int) -> Features:
    """A cell's patches behind a LayerNorm over all of them, as in a pixel shuffle."""
    return lambda pre: F.layer_norm(flat := cells(pre, grid, cell).flatten(2), flat.shape[-1:])


def normed_patches(grid: Grid, cell: int) -> Features:
    """A cell's patches, each behind a LayerNorm, as in a patch merger."""
    return lambda pre: cells(F.layer_norm(pre, pre.shape[-1:], eps=1e-6), grid, cell).flatten(2)


def cell_moments(tokens: TowerTokens, cell: int, features: Features) -> CellMoments:
    """Moments of `features` against the patches of each cell of `cell` x `cell` patches."""
    patches = whole_cell(tokens.grid, cell)
    validation = torch.arange(len(tokens.train)) % VALIDATION == 0

    def moments(pre: Float[Tensor, "images n d"]) -> Moments:
        stream: MomentsStream | None = None
        for batch in pre.split(TOGETHER):
            x, y = features(batch).flatten(0, 1), patches(batch).flatten(0, 1)
            stream = stream or MomentsStream(x.shape[1], y.shape[1])
            stream.add(x, y)
        assert stream is not None
        return stream.value()

    return CellMoments(
        moments(tokens.train[~validation]), moments(tokens.train[validation]), moments(tokens.test)
    )


def bottleneck(moments: CellMoments, map_: Affine, rank: int) -> Affine:
    """The map of at most `rank` that comes nearest to another on the training pictures: reduced rank regression.

    Of the identity it is the projection to the first principal components, the PCA bottleneck.
    """
    weight = map_.weight
    if rank >= min(weight.shape):
        return map_
    fitted = weight.T @ moments.training.xx @ weight
    directions = torch.linalg.eigh(fitted)[1][:, -rank:]
    shrunk = weight @ directions @ directions.T
    return Affine(shrunk, moments.training.mean_y - moments.training.mean_x @ shrunk)


def identity(moments: CellMoments) -> Affine:
    """The map of features that are the patches themselves onto the patches."""
    width = len(moments.training.mean_x)
    return Affine(torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64))


def pca_loss(tokens: TowerTokens, cell: int, numbers: int) -> float:
    """What the best linear map from a cell to so many numbers loses."""
    moments = cell_moments(tokens, cell, whole_cell(tokens.grid, cell))
    return moments.loss(bottleneck(moments, identity(moments), numbers))


def regressed_loss(tokens: TowerTokens, cell: int, numbers: int, features: Features) -> float:
    """The same where the map sees features of a cell alone."""
    moments = cell_moments(tokens, cell, features)
    return moments.loss(bottleneck(moments, moments.ridge(), numbers))


@torch.no_grad()
def ridge_loss(tokens: TowerTokens, cell: int, connector: nn.Module) -> float:
    """What a connector with a token for each cell loses to a linear probe."""
    moments = cell_moments(tokens, cell, connector)
    return moments.loss(moments.ridge())


def random_starts(make: Callable[[], nn.Module], seeds: Sequence[int]) -> Iterator[nn.Module]:
    """A module at the random start of each seed; the caller's random state is left as it was."""
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = make()
        yield made.eval()
