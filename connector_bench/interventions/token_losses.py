"""From the picture's patches to the connector's tokens: the loss of each, and which lie under an answer mask."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from connector_bench.reconstruction.cells import cells_of, is_placed
from connector_bench.reconstruction.lossmaps import mask_areas
from connector_bench.types import TokenLayout

COVERED = 1e-9
"""Shares of the picture's area up to this are rounding."""


def by_token(layout: TokenLayout, by_patch: Float[Tensor, " n_pre"]) -> Float[Tensor, " n_post"]:
    """Mean over the patches of each token's cell, float64. ValueError where tokens have no place in the picture."""
    if not is_placed(layout):
        raise ValueError(
            "the connector's tokens have no place in the picture (resamplers, Q-Formers), so that nobody can tell the "
            "loss of each: mask them in random order"
        )
    found = torch.zeros(layout.n_post, dtype=torch.float64)
    values = by_patch.detach().cpu().double()
    for cells in cells_of(layout):
        found[cells.tokens] = values[cells.patches].mean(1)
    return found


def under_mask(layout: TokenLayout, mask: Bool[np.ndarray, "rows columns"]) -> Bool[Tensor, " n_post"]:
    """Tokens of whose cells some part lies under the mask. ValueError as `by_token`, and for what is no mask."""
    inside = torch.from_numpy(mask_areas(layout, mask).inside)
    return by_token(layout, inside) > COVERED
