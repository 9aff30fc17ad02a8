"""Where tokens lie by their user's word: rows and columns of the encoder's tokens, and of the connector's."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Integral

from connector_bench.types import WHOLE_PICTURE, Box, Grid, Tile, TokenLayout

GivenGrid = Grid | tuple[Grid, Grid | None] | None
"""`(rows, columns)` of the encoder's tokens; both sides' grids, None for a connector whose tokens have no place; or
None where nobody knows where any token lies."""


@dataclass(frozen=True)
class StatedGrid:
    """Rows and columns of one picture's tokens."""

    pre: Grid | None
    post: Grid | None = None
    post_is_said: bool = False
    """Whether `post` was given; else a connector with as many tokens as the encoder keeps its grid."""

    @classmethod
    def of(cls, grid: GivenGrid) -> StatedGrid:
        """As the user gave it. ValueError naming what is allowed."""
        if grid is None:
            return cls(None)
        if (pre := one_grid(grid)) is not None:
            return cls(pre)
        pair = isinstance(grid, (tuple, list)) and len(grid) == 2
        before, after = map(one_grid, grid) if pair else (None, None)
        if before is not None and (after is not None or grid[1] is None):
            return cls(before, after, post_is_said=True)
        raise ValueError(
            f"grid is {grid!r}; allowed are (rows, columns) of the encoder's tokens, both sides' as "
            "((rows, columns), (rows, columns)), ((rows, columns), None) where the connector's have no place, and None"
        )

    @property
    def spoken(self) -> str:
        """As the user typed it."""
        return f"grid={(self.pre, self.post) if self.post_is_said else self.pre}"

    def without_post(self) -> StatedGrid:
        """The same, the connector's tokens without places."""
        return replace(self, post=None, post_is_said=True)

    def layout(
        self, n_pre: int, n_post: int, box: Box = WHOLE_PICTURE, *, merges: bool = False
    ) -> TokenLayout:
        """The layout of a picture with so many tokens on either side.

        `merges` says that a connector with r x r times fewer tokens may be taken to merge blocks of r x r; whoever
        asks for it has to try that with pictures.

        Raises:
            ValueError: the grids are not of so many tokens.
        """
        if self.pre is None:
            return TokenLayout((), n_post, n_pre)
        _require(self.pre, n_pre, "encoder")
        post = self.post
        if self.post_is_said and post is not None:
            _require(post, n_post, "connector")
        elif not self.post_is_said:
            post = self.pre if n_post == n_pre else _merged(self.pre, n_post) if merges else None
        return TokenLayout((Tile(self.pre, post, box),), n_post)


def one_grid(value: object) -> Grid | None:
    """`(rows, columns)` of whole numbers of any kind above 0; None where it is something else."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return None
    whole = all(isinstance(side, Integral) and not isinstance(side, bool) and int(side) > 0 for side in value)
    return (int(value[0]), int(value[1])) if whole else None


def _require(grid: Grid, count: int, whose: str) -> None:
    if math.prod(grid) != count:
        raise ValueError(
            f"a grid of {grid[0]} x {grid[1]} has {math.prod(grid)} tokens, the {whose} gave {count}; tokens without a "
            "place, such as a class token, must not be among them"
        )


def _merged(grid: Grid, count: int) -> Grid | None:
    """The grid of r x r blocks that has so many cells; None where there is none."""
    for side in range(2, min(grid) + 1):
        if grid[0] % side == grid[1] % side == 0 and grid[0] * grid[1] == count * side**2:
            return grid[0] // side, grid[1] // side
    return None
