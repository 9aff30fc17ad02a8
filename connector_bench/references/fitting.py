"""A connector that is trained to be rebuilt from, where no closed form says what its kind can keep."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from connector_bench import progress
from connector_bench.references.bottlenecks import ridge_loss, whole_cell
from connector_bench.references.tower import TowerTokens
from connector_bench.types import Grid

BATCH = 16
LEARNING_RATE, WARM_UP, CLIP = 2e-3, 0.1, 1.0
WIDTH, HEADS = 256, 4


class ByPlace(nn.Module):
    """Patches from tokens that have no place: a question for each place attends to them."""

    def __init__(self, n: int, d_post: int, d: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(n, WIDTH) * 0.5)
        self.keys = nn.Linear(d_post, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.rebuild = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, d)
        )

    def forward(self, post: Float[Tensor, "b m d_post"]) -> Float[Tensor, "b n d"]:
        """One patch a place."""
        keys = self.keys(post)
        asked = self.places.expand(len(post), -1, -1)
        seen, _ = self.attention(asked, keys, keys, need_weights=False)
        return self.rebuild(asked + seen)


def fitted_cells_loss(
    tokens: TowerTokens, cell: int, connector: nn.Module, steps: int, title: str = "fit"
) -> float:
    """Train a connector with a token for each cell, and a linear map behind it; then what a ridge cannot rebuild."""
    patches = whole_cell(tokens.grid, cell)
    with torch.no_grad():
        d_post, d_cell = connector(tokens.train[:1]).shape[2], patches(tokens.train[:1]).shape[2]
    _train(connector, nn.Linear(d_post, d_cell), tokens, patches, steps, title)
    return ridge_loss(tokens, cell, connector.eval())


def fitted_set_loss(tokens: TowerTokens, connector: nn.Module, steps: int, title: str = "fit") -> float:
    """Train `ByPlace` behind a connector whose tokens have no place, and that too unless it is frozen; what is lost."""
    n, d = tokens.train.shape[1:]
    with torch.no_grad():
        d_post = connector(tokens.train[:1]).shape[2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = ByPlace(n, d_post, d)
    rebuilt = _train(connector, decoder, tokens, lambda pre: pre, steps, title)
    with torch.no_grad():
        mean = tokens.train.mean((0, 1))
        parts = [(pre, rebuilt(pre)) for pre in tokens.test.split(BATCH)]
        error = sum(float((a - b).double().square().sum()) for a, b in parts)
        return error / sum(float((a - mean).double().square().sum()) for a, _ in parts)


def _train(
    connector: nn.Module,
    decoder: nn.Module,
    tokens: TowerTokens,
    target: Callable[[Tensor], Tensor],
    steps: int,
    title: str,
) -> Callable[[Tensor], Tensor]:
    """Both in place, on patches about their mean and over their common deviation; returns what rebuilds a batch."""
    mean, scale = tokens.train.mean((0, 1)), tokens.train.std()
    learnt = [p for p in (*connector.parameters(), *decoder.parameters()) if p.requires_grad]
    optimiser = torch.optim.AdamW(learnt, LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate((step + 1) / (steps + 1)))
    order = torch.Generator().manual_seed(0)
    for _ in progress.steps(range(steps), title, unit="step"):
        pre = tokens.train[torch.randint(len(tokens.train), (BATCH,), generator=order)]
        loss = F.mse_loss(decoder(connector(pre)), target((pre - mean) / scale))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(learnt, CLIP)
        optimiser.step()
        schedule.step()
    return lambda pre: decoder(connector(pre)) * scale + mean


def _rate(done: float) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    return (
        done / WARM_UP if done < WARM_UP else 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))
    )


def cell_of(grid: Grid, tokens: int) -> int:
    """Side of the cells that so many tokens divide a grid in.

    Raises:
        ValueError: they do not; the message says which numbers do.
    """
    allowed = {
        grid[0] * grid[1] // side**2: side
        for side in range(1, min(grid) + 1)
        if not (grid[0] % side or grid[1] % side)
    }
    if tokens not in allowed:
        raise ValueError(
            f"{grid[0]} x {grid[1]} patches are not joined to {tokens} tokens by square cells; allowed are "
            f"{', '.join(map(str, allowed))}"
        )
    return allowed[tokens]
