"""From what a connector's modules took and gave in a vision pass to tokens in the order of their layouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.connectors.execution import without_waiting
from connector_bench.connectors.family import Batch, Family, Placement
from connector_bench.connectors.feeding import Fed
from connector_bench.connectors.hooks import Calls
from connector_bench.types import TokenBatch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn


@dataclass(frozen=True)
class LayingOut:
    """What a family says of its tokens, applied to one model's vision passes."""

    model: nn.Module
    family: Family
    image_processor: Any

    @property
    def folded(self) -> int:
        """Encoder tokens in one row of the module's input."""
        per_row = self.family.tokens_per_row
        return per_row(self.model.config) if callable(per_row) else per_row

    def last(self, tensor: Tensor) -> Tensor:
        """The connector's input with its channels on the last dimension."""
        return tensor.movedim(1, -1) if self.family.channels_first else tensor

    def placements(self, fed: Fed, seen: Calls) -> Sequence[Placement]:
        """Where each picture's tokens stand in what one branch took and gave."""
        return self.family.place(self._batch(fed, seen))

    def tokens(self, fed: Fed, calls: Sequence[Calls]) -> TokenBatch:
        """Every picture's tokens on both sides, of all branches side by side.

        ValueError where a layout asks for tokens that are not there.
        """
        placements = self.placements(fed, calls[0])
        before = [[self.last(tensor) for tensor in seen.pre] for seen in calls]
        widths = [tensors[0].shape[-1] // self.folded for tensors in before]
        pre_rows = np.concatenate([where.pre_rows for where in placements])
        post_rows = np.concatenate([where.post_rows for where in placements])
        normed = None
        if self.family.leading_norm is not None:
            rows = [
                where.pre_rows if where.normed_rows is None else where.normed_rows for where in placements
            ]
            normed = _gather(_side_by_side([s.normed for s in calls], widths), np.concatenate(rows))
        post = _side_by_side([seen.post[: len(seen.pre)] for seen in calls])
        untrained = [
            _side_by_side([copies[: len(seen.pre)] for seen, copies in zip(calls, branches, strict=True)])
            for branches in zip(*(seen.untrained for seen in calls), strict=True)
        ]
        return TokenBatch(
            tuple(str(number) for number in range(len(placements))),
            tuple(where.layout for where in placements),
            _gather(_side_by_side(before, widths), pre_rows),
            _gather(post, post_rows),
            normed,
            tuple(_gather(tokens, post_rows) for tokens in untrained),
        )

    def _batch(self, fed: Fed, seen: Calls) -> Batch:
        pre = [self.last(tensor).shape for tensor in seen.pre]
        return Batch(
            model=self.model,
            config=self.model.config,
            image_processor=self.image_processor,
            options=fed.options,
            inputs=fed.inputs,
            sizes=fed.sizes,
            pre_shapes=tuple(_unfolded(tuple(shape), self.folded) for shape in pre),
            post_shapes=tuple(tuple(tensor.shape) for tensor in seen.post[: len(seen.pre)]),
            grids=tuple(seen.grids),
        )


def _side_by_side(
    branches: Sequence[Sequence[Tensor]], widths: Sequence[int] | None = None
) -> Float[Tensor, "rows width"]:
    """All calls of each branch flattened to rows and laid end to end; the branches side by side."""
    import torch

    flat = []
    for index, calls in enumerate(branches):
        width = widths[index] if widths else calls[0].shape[-1]
        flat.append(torch.cat([tensor.reshape(-1, width) for tensor in calls]))
    if len({tensor.device for tensor in flat}) > 1:  # a model that is spread over devices
        flat = [tensor.cpu() for tensor in flat]
    return flat[0] if len(flat) == 1 else torch.cat(flat, dim=-1)


def _unfolded(shape: tuple[int, ...], n_folded: int) -> tuple[int, ...]:
    """The shape that a stacked input has once each row is split in its encoder tokens."""
    if n_folded == 1 or len(shape) != 3:
        return shape
    return shape[0], shape[1] * n_folded, shape[2] // n_folded


def _gather(tokens: Float[Tensor, "rows width"], rows: Any) -> Float[Tensor, "n width"]:
    """The given rows, as an ordinary tensor that training may use."""
    import torch

    if len(rows) and int(rows.max()) >= tokens.shape[0]:
        raise ValueError(f"the layout asks for token {int(rows.max())}, the connector has {tokens.shape[0]}")
    return tokens.index_select(0, without_waiting(torch.from_numpy(rows), tokens.device))
