"""Frozen values that pass between capture, the measures and the harness."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from jaxtyping import Float

from connector_bench.protocol import PLACES_NOT_KNOWN

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
    unplaced: int = 0
    """Number of encoder tokens where nobody knows where any token lies; there are no tiles then."""

    def __post_init__(self) -> None:
        if self.unplaced and self.tiles:
            raise ValueError(
                f"{self.unplaced} tokens without a place, beside {len(self.tiles)} tiles; allowed is one"
            )

    @property
    def n_pre(self) -> int:
        """Number of encoder tokens."""
        return sum(math.prod(tile.pre_grid) for tile in self.tiles) + self.unplaced

    @property
    def has_places(self) -> bool:
        """Whether every connector token covers a known rectangle of the picture."""
        return not self.unplaced and all(tile.post_grid is not None for tile in self.tiles)

    def without_places(self) -> TokenLayout:
        """The same tokens where nobody knows where they lie."""
        return TokenLayout((), self.n_post, self.n_pre)


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


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """Tokens of several images end to end, as one forward pass gives them: on the model's device, in its precision.

    Rows follow `images`, and within an image its layout's order; what the sides are, `TokenPair` says.
    """

    images: tuple[str, ...]
    """Names, such as `pictures.picture_hash` gives them."""
    layouts: tuple[TokenLayout, ...]
    pre: Float[Tensor, "rows_pre d_pre"]
    post: Float[Tensor, "rows_post d_post"]
    pre_normed: Float[Tensor, "rows_pre d_pre"] | None = None
    untrained: tuple[Float[Tensor, "rows_post d_post"], ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def pre_rows(self) -> tuple[slice, ...]:
        """Each image's rows before the connector."""
        return slices([layout.n_pre for layout in self.layouts])

    @cached_property
    def post_rows(self) -> tuple[slice, ...]:
        """Each image's rows behind the connector."""
        return slices([layout.n_post for layout in self.layouts])

    @property
    def sides(self) -> tuple[Tensor, ...]:
        """All its tensors: `pre`, `post`, `pre_normed` where there is one, and the untrained copies'."""
        normed = () if self.pre_normed is None else (self.pre_normed,)
        return (self.pre, self.post, *normed, *self.untrained)

    @property
    def encoder_norms(self) -> Float[Tensor, " images"]:
        """Mean Euclidean norm of each image's encoder tokens, float64, on their device."""
        import torch

        norms = torch.linalg.vector_norm(self.pre, dim=1, dtype=torch.float64)
        return means_by_image(norms[:, None], self.pre_rows)[:, 0]

    def take(self, positions: Sequence[int]) -> TokenBatch:
        """Some of the images, in this order; the batch itself where it is all of them in theirs."""
        import torch

        if list(positions) == list(range(len(self))):
            return self

        def rows(tokens: Tensor, of: tuple[slice, ...]) -> Tensor:
            return torch.cat([tokens[of[position]] for position in positions] or [tokens[:0]])

        return TokenBatch(
            tuple(self.images[position] for position in positions),
            tuple(self.layouts[position] for position in positions),
            rows(self.pre, self.pre_rows),
            rows(self.post, self.post_rows),
            None if self.pre_normed is None else rows(self.pre_normed, self.pre_rows),
            tuple(rows(tokens, self.post_rows) for tokens in self.untrained),
        )

    def mapped(self, change: Callable[[Tensor], Tensor]) -> TokenBatch:
        """The same with every tensor changed, such as moved to another device."""
        return replace(
            self,
            pre=change(self.pre),
            post=change(self.post),
            pre_normed=None if self.pre_normed is None else change(self.pre_normed),
            untrained=tuple(change(tokens) for tokens in self.untrained),
        )

    def pairs(self) -> list[TokenPair]:
        """One pair an image, fp32 on the CPU."""
        own = self.mapped(lambda tokens: tokens.float().cpu())
        return [
            TokenPair(
                own.pre[before],
                own.post[after],
                layout,
                None if own.pre_normed is None else own.pre_normed[before],
                tuple(tokens[after] for tokens in own.untrained),
            )
            for layout, before, after in zip(self.layouts, self.pre_rows, self.post_rows, strict=True)
        ]

    @classmethod
    def of(cls, images: Sequence[str], pairs: Sequence[TokenPair]) -> TokenBatch:
        """Pairs end to end; at least one, all with a normed side and untrained copies or all without."""
        singles = [
            cls((name,), (pair.layout,), pair.pre, pair.post, pair.pre_normed, pair.untrained)
            for name, pair in zip(images, pairs, strict=True)
        ]
        return cls.end_to_end(singles)

    @classmethod
    def end_to_end(cls, batches: Sequence[TokenBatch]) -> TokenBatch:
        """Several batches of one model as one; at least one."""
        import torch

        if len(batches) == 1:
            return batches[0]
        normed = [batch.pre_normed for batch in batches if batch.pre_normed is not None]
        return cls(
            tuple(name for batch in batches for name in batch.images),
            tuple(layout for batch in batches for layout in batch.layouts),
            torch.cat([batch.pre for batch in batches]),
            torch.cat([batch.post for batch in batches]),
            torch.cat(normed) if normed else None,
            tuple(torch.cat(side) for side in zip(*(batch.untrained for batch in batches), strict=True)),
        )


def means_by_image(tokens: Float[Tensor, "rows d"], rows: Sequence[slice]) -> Float[Tensor, "images d"]:
    """Mean token of each image, summed in float64.

    On the CPU every image is summed alone, so that its bits do not depend on what else is in the batch.
    """
    import torch

    counts = {part.stop - part.start for part in rows}
    if tokens.is_cuda and len(counts) == 1:
        return tokens.unflatten(0, (len(rows), -1)).sum(1, dtype=torch.float64) / counts.pop()
    return torch.stack([tokens[part].mean(0, dtype=torch.float64) for part in rows])


def slices(counts: Sequence[int]) -> tuple[slice, ...]:
    """Rows of images that lie end to end, so many each."""
    ends = list(accumulate(counts, initial=0))
    return tuple(slice(first, end) for first, end in pairwise(ends))


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
    remarks: str = ""
    """What of the tower or of further branches is left out, and what else a reader should know."""
    places: str | None = None
    """What the planted-patch check says of the tokens' places, in a few words; None where it was not asked."""
    planted_found: float | None = None
    """Share of planted patches that moved their own token most, on the side and picture with the fewest."""

    @property
    def knows_places(self) -> bool:
        """Whether layouts say where tokens lie; without that there are no loss maps and no probes per cell."""
        return not (self.places or "").startswith(PLACES_NOT_KNOWN)
