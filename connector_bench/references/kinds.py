"""The references of one tower and size, beside what somebody's own connector loses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from connector_bench.progress import doing
from connector_bench.references.bottlenecks import (
    normed_cell,
    normed_patches,
    pca_loss,
    random_starts,
    regressed_loss,
    ridge_loss,
)
from connector_bench.references.fitting import cell_of, fitted_cells_loss, fitted_set_loss
from connector_bench.references.tower import TowerTokens
from connector_bench.zoo import connectors

if TYPE_CHECKING:
    from torch import nn

SEEDS = (0, 1, 2)
STEPS = 600
CLOSED, AS_LINEAR, FITTED = "closed form", "as linear", "fitted"


@dataclass(frozen=True)
class Reference:
    """One kind of connector at the widths asked for."""

    name: str
    tokens: int
    width: int
    parameters: int
    untrained: float
    """Share of the patches' variance that is lost behind random starts, mean over seeds."""
    fitted: float
    """The same where it keeps all that its kind can, as far as is known."""
    how: str
    """How `fitted` was had."""


def closed_references(
    tokens: TowerTokens, budget: int, width: int, ranks: Sequence[int] = (8, 32)
) -> Iterator[Reference]:
    """The built-in connectors of which a closed form is known, each untrained and as good as can be.

    Args:
        tokens: of the tower.
        budget: number of connector tokens a picture; those that join nothing have one for each patch.
        width: numbers of a connector token.
        ranks: of the linear bottlenecks.

    Raises:
        ValueError: square cells of patches do not make that many tokens, or the width is no multiple of the heads.
    """
    grid, d = tokens.grid, tokens.width
    cell = _cell(tokens, budget, width)
    if bad := [rank for rank in ranks if not 1 <= rank <= d]:
        raise ValueError(f"rank {bad[0]} is none of a token of {d} numbers")
    every = grid[0] * grid[1]
    linear = partial(pca_loss, tokens, 1)
    cells = (grid, cell)
    pooled = connectors.AvgPool(d, width, *cells)
    closed: list[tuple[str, int, Callable[[], nn.Module], Callable[[], float]]] = [
        ("linear", 1, partial(connectors.Linear, d, width, grid), partial(linear, width)),
        ("mlp", 1, partial(connectors.Mlp, d, width, grid), partial(linear, width)),
        *(
            (f"rank{rank}", 1, partial(connectors.Bottleneck, d, width, rank, grid), partial(linear, rank))
            for rank in ranks
        ),
        (
            "pixel_shuffle",
            cell,
            partial(connectors.PixelShuffle, d, width, *cells),
            partial(regressed_loss, tokens, cell, width, normed_cell(grid, cell)),
        ),
        (
            "patch_merger",
            cell,
            partial(connectors.PatchMerger, d, width, *cells),
            partial(regressed_loss, tokens, cell, width, normed_patches(grid, cell)),
        ),
        (
            "avg_pool",
            cell,
            partial(connectors.AvgPool, d, width, *cells),
            partial(regressed_loss, tokens, cell, width, pooled.normed),
        ),
    ]
    for name, side, make, best in closed:
        with doing(f"{name} behind this tower"):
            starts = list(random_starts(make, SEEDS))
            untrained = fmean(ridge_loss(tokens, side, one) for one in starts)
            yield Reference(
                name,
                every // side**2,
                width,
                _parameters(starts[0]),
                untrained,
                best(),
                AS_LINEAR if name == "mlp" else CLOSED,
            )


def fitted_references(
    tokens: TowerTokens, budget: int, width: int, steps: int = STEPS
) -> Iterator[Reference]:
    """Those that are trained for so many steps, once or twice, with a bar that tells which and how far.

    Raises:
        ValueError: as `closed_references`.
    """
    grid, d = tokens.grid, tokens.width
    cell = _cell(tokens, budget, width)
    with doing("c_abstractor behind this tower"):
        starts = list(random_starts(partial(connectors.ConvAbstractor, d, width, grid, cell), SEEDS))
        untrained = fmean(ridge_loss(tokens, cell, one) for one in starts)
    fitted = fitted_cells_loss(tokens, cell, starts[0], steps, "c_abstractor, fit 1 of 3")
    yield Reference("c_abstractor", budget, width, _parameters(starts[0]), untrained, fitted, FITTED)
    frozen, learning = random_starts(
        partial(connectors.Resampler, d, width, grid=grid, latents=budget), SEEDS[:1] * 2
    )
    untrained = fitted_set_loss(
        tokens, frozen.requires_grad_(False), steps, "untrained resampler, fit 2 of 3"
    )
    fitted = fitted_set_loss(tokens, learning, steps, "resampler, fit 3 of 3")
    yield Reference("resampler", budget, width, _parameters(learning), untrained, fitted, FITTED)


def _cell(tokens: TowerTokens, budget: int, width: int) -> int:
    cell, heads = cell_of(tokens.grid, budget), connectors.Resampler.heads
    if width < 1 or width % heads:
        raise ValueError(f"width is {width}; the resampler's {heads} heads need a multiple of {heads}")
    return cell


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
