"""The zoo's connectors: [B, 196, d_in] -> [B, m, d_out], and the layout of the tokens each gives.

Each can be built for another grid of tokens too, and with cells of another size where it joins some.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

GRID = 14
"""Rows and columns of the encoder's tokens, which come in raster order."""
SQUARE = (GRID, GRID)
Grid = tuple[int, int]
Pre = Float[Tensor, "b 196 d_in"]
Post = Float[Tensor, "b m d_out"]


@dataclass(frozen=True)
class Layout:
    """Where the post tokens lie: ``grid`` is (rows, columns) in raster order, or None if they have no place.

    ``norm`` names the submodule that normalises the connector's input, or None. ``declared`` is False where the
    connector says nothing of its layout, so that its tokens are taken to have no place. ValueError where the grid
    has not as many cells as there are tokens.
    """

    tokens: int
    grid: tuple[int, int] | None
    norm: str | None = None
    declared: bool = True

    def __post_init__(self) -> None:
        if self.grid is not None and math.prod(self.grid) != self.tokens:
            raise ValueError(
                f"a grid of {self.grid} has {math.prod(self.grid)} cells, not {self.tokens} tokens"
            )


def every_token(grid: Grid) -> Layout:
    """A token for each of the encoder's."""
    return Layout(math.prod(grid), grid)


def every_cell(grid: Grid, cell: int, norm: str | None = None) -> Layout:
    """A token for each cell of `cell` x `cell` tokens. ValueError where cells do not fill the grid."""
    if grid[0] % cell or grid[1] % cell:
        raise ValueError(f"cells of {cell} x {cell} do not fill a grid of {grid[0]} x {grid[1]}")
    cells = grid[0] // cell, grid[1] // cell
    return Layout(math.prod(cells), cells, norm)


def cells(tokens: Float[Tensor, "b n d"], grid: Grid, cell: int) -> Float[Tensor, "b m c d"]:
    """The tokens of each `cell` x `cell` cell, cells in raster order and raster order within a cell."""
    batch, _, width = tokens.shape
    rows, columns = grid[0] // cell, grid[1] // cell
    blocks = tokens.view(batch, rows, cell, columns, cell, width).permute(0, 1, 3, 2, 4, 5)
    return blocks.reshape(batch, rows * columns, cell * cell, width)


def group_2x2(tokens: Float[Tensor, "b 196 d"]) -> Float[Tensor, "b 49 4 d"]:
    """The four tokens of each 2 x 2 cell of the encoder's grid."""
    return cells(tokens, SQUARE, 2)


FULL = every_token(SQUARE)


class Identity(nn.Module):
    """Pads every token with zeros to ``d_out``: an isometry that loses nothing. It has no parameters."""

    layout = FULL

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.padding = d_out - d_in

    def forward(self, pre: Pre) -> Post:
        """The tokens of the class docstring."""
        return F.pad(pre, (0, self.padding))


class Rotation(nn.Module):
    """A random map with orthonormal columns, never trained: an isometry that mixes all channels."""

    layout = FULL
    matrix: Tensor

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        orthonormal, _ = torch.linalg.qr(torch.randn(d_out, d_in, dtype=torch.float64))
        self.register_buffer("matrix", orthonormal.float())

    def forward(self, pre: Pre) -> Post:
        """The tokens of the class docstring."""
        return pre @ self.matrix.T


class Linear(nn.Module):
    """One linear map per token."""

    def __init__(self, d_in: int, d_out: int, grid: Grid = SQUARE) -> None:
        super().__init__()
        self.layout = every_token(grid)
        self.project = nn.Linear(d_in, d_out)

    def forward(self, pre: Pre) -> Post:
        """The tokens of the class docstring."""
        return self.project(pre)


class Mlp(nn.Module):
    """LLaVA-1.5: linear, GELU, linear per token; ``hidden`` units between, ``d_out`` where None."""

    def __init__(self, d_in: int, d_out: int, grid: Grid = SQUARE, hidden: int | None = None) -> None:
        super().__init__()
        self.layout = every_token(grid)
        hidden = d_out if hidden is None else hidden
        self.layers = nn.Sequential(nn.Linear(d_in, hidden), nn.GELU(), nn.Linear(hidden, d_out))

    def forward(self, pre: Pre) -> Post:
        """The tokens of the class docstring."""
        return self.layers(pre)


class PixelShuffle(nn.Module):
    """InternVL: 2 x 2 space-to-depth, LayerNorm over the four together, MLP -> 49 tokens."""

    def __init__(self, d_in: int, d_out: int, grid: Grid = SQUARE, cell: int = 2) -> None:
        super().__init__()
        self.grid, self.cell = grid, cell
        self.layout = every_cell(grid, cell, norm="norm")
        self.norm = nn.LayerNorm(cell**2 * d_in)
        self.layers = nn.Sequential(nn.Linear(cell**2 * d_in, d_out), nn.GELU(), nn.Linear(d_out, d_out))

    def forward(self, pre: Pre) -> Post:
        """The tokens of the class docstring."""
        return self.layers(self.norm(cells(pre, self.grid, self.cell).flatten(2)))


class PatchMerger(nn.Module):
    """Qwen2-VL: LayerNorm of each patch, then 2 x 2 patches concatenated, MLP -> 49 tokens.

    Its hidden layer has ``d_out`` units, where Qwen has 4 ``d_in``, to keep the weights small.
    """

    def __init__(self, d_in: int, d_out: int, grid: Grid = SQUARE, cell: int = 2) -> None:
        super().__init__()
        self.grid, self.cell = grid, cell
        self.layout = every_cell(grid, cell, norm="norm")
        self.norm = nn.LayerNorm(d_in, eps=1e-6)
        self.layers = nn.Sequential(nn.Linear(cell**2 * d_in, d_out), nn.GELU(), nn.Linear(d_out, d_out))

    def forward(self, pre: Pre) -> Post:
        """The tokens of the class docstring."""
        return self.layers(cells(self.norm(pre), self.grid, self.cell).flatten(2))


class AvgPool(nn.Module):
    """Gemma 3: mean of each 2 x 2 cell, RMSNorm, linear -> 49 tokens."""

    def __init__(self, d_in: int, d_out: int, grid: Grid = SQUARE, cell: int = 2) -> None:
        super().__init__()
        self.grid, self.cell = grid, cell
        self.layout = every_cell(grid, cell)
        self.norm_weight = nn.Parameter(torch.ones(d_in))
        self.project = nn.Linear(d_in, d_out, bias=False)

    def forward(self, pre: Pre) -> Post:
        """The tokens of the class docstring."""
        return self.project(self.normed(pre) * self.norm_weight)

    def normed(self, pre: Pre) -> Float[Tensor, "b m d_in"]:
        """What the linear map is given, before the norm's weight: it holds all that the connector keeps."""
        pooled = cells(pre, self.grid, self.cell).mean(2)
        return pooled * pooled.square().mean(-1, keepdim=True).add(1e-6).rsqrt()


class ConvAbstractor(nn.Module):
    """Honeybee's C-Abstractor: convolution blocks before and after an average pooling of 2 x 2 -> 49 tokens.

    A block is depthwise 3 x 3, then pointwise with a hidden layer, beside a residual path; Honeybee stacks
    three of them on each side.
    """

    def __init__(self, d_in: int, d_out: int, grid: Grid = SQUARE, cell: int = 2) -> None:
        super().__init__()
        self.grid, self.cell = grid, cell
        self.layout = every_cell(grid, cell)
        self.before = _ConvBlock(d_in)
        self.after = _ConvBlock(d_in)
        self.project = nn.Sequential(nn.Linear(d_in, d_out), nn.GELU(), nn.Linear(d_out, d_out))

    def forward(self, pre: Pre) -> Post:
        """The tokens of the class docstring."""
        picture = self.before(pre.transpose(1, 2).unflatten(2, self.grid))
        return self.project(self.after(F.avg_pool2d(picture, self.cell)).flatten(2).transpose(1, 2))


class _ConvBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width)
        self.pointwise = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, x: Float[Tensor, "b d rows columns"]) -> Float[Tensor, "b d rows columns"]:
        mixed = self.pointwise(self.norm(self.depthwise(x).movedim(1, -1)))
        return x + mixed.movedim(-1, 1)


class Resampler(nn.Module):
    """Idefics2: a perceiver. Learned latents attend to all tokens in one layer -> ``latents`` tokens without
    a place.

    The encoder's tokens get a learned position embedding inside the connector, since a set of latents can say
    where something is only if the keys do.
    """

    heads = 4

    def __init__(self, d_in: int, d_out: int, grid: Grid = SQUARE, latents: int = 32) -> None:
        super().__init__()
        self.layout = Layout(latents, None, norm="norm")
        self.queries = nn.Parameter(torch.randn(latents, d_out))
        self.positions = nn.Parameter(torch.randn(math.prod(grid), d_out) * 0.5)
        self.norm = nn.LayerNorm(d_in)
        self.project = nn.Linear(d_in, d_out)
        self.to_query = nn.Linear(d_out, d_out, bias=False)
        self.to_key_value = nn.Linear(d_out, 2 * d_out, bias=False)
        self.merge = nn.Linear(d_out, d_out, bias=False)
        self.mlp_norm = nn.LayerNorm(d_out)
        self.mlp = nn.Sequential(nn.Linear(d_out, 2 * d_out), nn.GELU(), nn.Linear(2 * d_out, d_out))

    def _heads(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b h n e"]:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, pre: Pre) -> Post:
        """The tokens of the class docstring."""
        keyed = self.project(self.norm(pre)) + self.positions
        key, value = self.to_key_value(keyed).chunk(2, dim=-1)
        queries = self.queries.expand(len(pre), -1, -1)
        seen = F.scaled_dot_product_attention(
            self._heads(self.to_query(queries)), self._heads(key), self._heads(value)
        )
        latents = queries + self.merge(seen.transpose(1, 2).flatten(2))
        return latents + self.mlp(self.mlp_norm(latents))


class Bottleneck(nn.Module):
    """A linear map of rank at most ``rank``: down without bias, up with bias, nothing between."""

    def __init__(self, d_in: int, d_out: int, rank: int, grid: Grid = SQUARE) -> None:
        super().__init__()
        self.layout = every_token(grid)
        self.down = nn.Linear(d_in, rank, bias=False)
        self.up = nn.Linear(rank, d_out)

    def forward(self, pre: Pre) -> Post:
        """The tokens of the class docstring."""
        return self.up(self.down(pre))
