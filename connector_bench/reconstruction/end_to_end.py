"""Images of a batch end to end: which are taken at once, which rows belong together, sums by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from connector_bench.reconstruction.cells import Cells, CellShape, cells_of
from connector_bench.types import TokenBatch, TokenLayout, means_by_image, slices

ROWS_AT_ONCE = 20_480
"""Rows on either side that are taken at once on a device: 0.7 GB in float64 for tokens of 4096 numbers."""


def parts(batch: TokenBatch) -> Iterator[TokenBatch]:
    """What is computed at once.

    On the CPU every image alone, so that no bit of its figures depends on what else is in the batch; elsewhere as
    many images as have `ROWS_AT_ONCE` rows, and at least one.
    """
    first = 0
    while first < len(batch):
        end, before, after = first, 0, 0
        while end < len(batch) and (end == first or batch.pre.device.type != "cpu"):
            before += batch.layouts[end].n_pre
            after += batch.layouts[end].n_post
            if end > first and max(before, after) > ROWS_AT_ONCE:
                break
            end += 1
        yield batch.take(range(first, end))
        first = end


@lru_cache(maxsize=64)
def cells_of_all(layouts: tuple[TokenLayout, ...], device: torch.device) -> tuple[Cells, ...]:
    """The cells of images end to end, by shape, the largest first, their indices on a device.

    ValueError as `cells_of`.
    """
    found: dict[CellShape, tuple[list[Tensor], list[Tensor]]] = {}
    first_patch = first_token = 0
    for layout in layouts:
        for cells in cells_of(layout):
            tokens, patches = found.setdefault(cells.shape, ([], []))
            tokens.append(cells.tokens + first_token)
            patches.append(cells.patches + first_patch)
        first_patch += layout.n_pre
        first_token += layout.n_post
    ordered = sorted(found.items(), key=lambda item: (-item[0][0] * item[0][1], item[0]))
    return tuple(
        Cells(shape, torch.cat(tokens).to(device), torch.cat(patches).to(device))
        for shape, (tokens, patches) in ordered
    )


@lru_cache(maxsize=64)
def image_of_patch(layouts: tuple[TokenLayout, ...], device: torch.device) -> Int[Tensor, " rows"]:
    """The position in the batch of every encoder token's image."""
    counts = torch.tensor([layout.n_pre for layout in layouts])
    return torch.arange(len(layouts)).repeat_interleave(counts).to(device)


def sums_by_image(values: Float[Tensor, ...], counts: Sequence[int], dim: int = 0) -> Float[Tensor, ...]:
    """Sums over each image's rows, so many an image, which lie end to end along a dimension; the same every time."""
    if len(set(counts)) == 1:
        return values.unflatten(dim, (len(counts), counts[0])).sum(dim + 1)
    return torch.stack([part.sum(dim) for part in values.split(list(counts), dim)], dim)


def padded(rows: Float[Tensor, "rows d"], counts: Sequence[int]) -> Float[Tensor, "images most d"]:
    """Rows of images end to end as a block, shorter images filled up with zeros."""
    if len(set(counts)) == 1:
        return rows.unflatten(0, (len(counts), counts[0]))
    return pad_sequence(rows.split(list(counts)), batch_first=True)


def unpadded(block: Float[Tensor, "images most d"], counts: Sequence[int]) -> Float[Tensor, "rows d"]:
    """The inverse of `padded`."""
    if len(set(counts)) == 1:
        return block.flatten(0, 1)
    return torch.cat([part[:count] for part, count in zip(block, counts, strict=True)])


def mean_tokens(
    post: Float[Tensor, "n_post d_post"], layouts: tuple[TokenLayout, ...]
) -> Float[Tensor, "images d_post"]:
    """Mean connector token of each image, float64."""
    return means_by_image(post, slices([layout.n_post for layout in layouts]))


def rebuilt(
    post: Float[Tensor, "n_post d_post"],
    layouts: tuple[TokenLayout, ...],
    mean: Float[Tensor, " d_pre"],
    probes: Mapping[CellShape, Callable[[Tensor], Tensor]],
) -> Float[Tensor, "n_pre d_pre"]:
    """Patches of placed images end to end, by a probe for each shape of cell; `mean` where there is none."""
    patches = mean.expand(sum(layout.n_pre for layout in layouts), len(mean)).clone()
    for cells in cells_of_all(layouts, post.device):
        if cells.shape in probes:
            found = probes[cells.shape](post[cells.tokens])
            patches[cells.patches] = found.unflatten(1, (-1, len(mean)))
    return patches
