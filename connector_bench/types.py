"""Frozen values that pass between capture, the measures and the harness."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jaxtyping import Float

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = object

Grid = tuple[int, int]
"""Rows and columns of tokens."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as fractions of the picture's width and height."""

WHOLE_PICTURE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Tile:
    """One rectangle of the picture and the grids of tokens that cover it.

    `post_grid` is None where the connector's tokens have no place in the image (resamplers, Q-Formers).
    `box` may reach outside 0..1 where the processor pads.
    """

    pre_grid: Grid
    post_grid: Grid | None
    box: Box = WHOLE_PICTURE


@dataclass(frozen=True)
class TokenLayout:
    """Where the tokens of one image lie: tiles in order, each tile's tokens in raster order."""

    tiles: tuple[Tile, ...]
    n_post: int

    @property
    def n_pre(self) -> int:
        """Number of encoder tokens."""
        return sum(math.prod(tile.pre_grid) for tile in self.tiles)

    @property
    def has_places(self) -> bool:
        """Whether every connector token covers a known rectangle of the picture."""
        return all(tile.post_grid is not None for tile in self.tiles)


@dataclass(frozen=True)
class TokenPair:
    """What enters and what leaves the connector for one image, both fp32 on the CPU, in the layout's order.

    `pre` is the encoder's output as the connector module receives it; `pre_normed` the same after the connector's
    own leading norm, where it has one; `post` is what the language model gets.
    """

    pre: Float[Tensor, "n_pre d_pre"]
    post: Float[Tensor, "n_post d_post"]
    layout: TokenLayout
    pre_normed: Float[Tensor, "n_pre d_pre"] | None = None
    untrained: tuple[Float[Tensor, "n_post d_post"], ...] = ()
    """What untrained copies of the connector make of the same input, one entry a seed, where they were asked for."""

    @property
    def encoder_norm(self) -> float:
        """Mean Euclidean norm of the encoder's tokens."""
        return float(self.pre.double().norm(dim=1).mean())


@dataclass(frozen=True)
class ConnectorInfo:
    """What is known of a connector before any image has passed it."""

    model: str
    """Name under which results are filed, such as `llava-hf/llava-1.5-7b-hf` or `connector_zoo/mlp-seed0`."""
    family: str
    """`model_type` of the model, or `connector_zoo`."""
    connector: str
    """Kind of connector in the field's words: `mlp`, `resampler`, `patch_merger` ..."""
    modules: tuple[str, ...]
    """Paths of the modules that make up the connector."""
    parameters: int
    dtype: str
    """The precision in which tower and connector ran, such as `bfloat16`, or `bfloat16, weights in Linear8bitLt`."""
    weights_sha256: str | None
    """Hash of the connector's weights: tells two checkpoints of one name apart. None where they cannot be read."""
    resolution: str | None = None
    """What size pictures are given, such as `336x336` or `448x448 tiles`; None where the processor does not say."""
    assumptions: tuple[str, ...] = field(default=())
    """What a generic adapter had to assume, and what the user allowed; empty for a known family."""
