"""What the training pass keeps in memory, told before it begins, and the device that has room for it."""

from __future__ import annotations

import math

import torch

from connector_bench.reconstruction.cells import cells_of, is_placed
from connector_bench.reconstruction.config import DTYPES, ReconstructionConfig, target_of
from connector_bench.reconstruction.folds import FOLDS
from connector_bench.reconstruction.probes.floor_sample import WIDEST
from connector_bench.reconstruction.probes.linear import PARTS
from connector_bench.reconstruction.probes.moments import CHUNK_ROWS_ON_CUDA
from connector_bench.reconstruction.probes.reservoir import SLACK
from connector_bench.types import TokenBatch

SHARE_OF_FREE = 0.7
"""How much of the free memory the state may take: activations, a chunk in float64 and the fits want theirs."""


def state_bytes(batch: TokenBatch, config: ReconstructionConfig) -> int:
    """Bytes that the state of connector and controls grows to, whatever the number of images.

    Told from the widths, precision and layouts of the first batch: shapes of cell that come later are not in it.
    """
    pre, post = target_of(batch, config), batch.post
    d_in, d_pre = post.shape[1], pre.shape[1]
    shapes = {cells.shape for one in batch.layouts if is_placed(one) for cells in cells_of(one)}
    unplaced = not all(map(is_placed, batch.layouts))
    widths = [(d_in, math.prod(shape) * d_pre) for shape in shapes] + [(d_in, d_pre)] * unplaced
    chunk = config.chunk_rows or CHUNK_ROWS_ON_CUDA
    untrained = config.untrained_seeds * len(PARTS)
    value = max(pre.element_size(), post.element_size())
    dtype = DTYPES[config.reservoir_dtype]
    kept = value if dtype is None else dtype.itemsize

    def moments(d: int, m: int) -> int:
        return 8 * d * (d + m) + chunk * (d + m) * value

    size = len(PARTS) * moments(d_pre, 0) + chunk * d_pre * value
    for d, m in widths:
        size += (len(FOLDS) + untrained) * moments(d, m)
    if unplaced:
        size += moments(d_pre, 0)
    for shape in shapes:
        cell = math.prod(shape) * d_pre
        if shape != (1, 1):
            size += len(PARTS) * moments(d_pre, cell)
        if d_in < cell <= WIDEST:
            size += moments(cell, 0)
    for shape in shapes:
        row = (d_in + math.prod(shape) * d_pre) * kept
        size += int(SLACK * (config.patch_pairs + config.validation_pairs) * row)
    if unplaced or config.attention == "always":
        tokens = max(one.n_post for one in batch.layouts) * d_in
        image = (tokens + config.attention_patches * d_pre) * kept
        size += int(SLACK * (1 + config.validation) * config.attention_images * image)
    return size


def state_device(batch: TokenBatch, config: ReconstructionConfig) -> tuple[torch.device, str | None]:
    """Where the state is to lie, and where that is not the tokens' device for want of memory, a sentence on it."""
    device = batch.post.device if config.device == "auto" else torch.device(config.device)
    needed = state_bytes(batch, config) if device.type == "cuda" else 0
    return with_room_for(needed, device, "the training pass gathered on the CPU")


def with_room_for(needed: int, device: torch.device, otherwise: str) -> tuple[torch.device, str | None]:
    """The device, or the CPU where it has no room for so many bytes, and a sentence that begins with `otherwise`."""
    if device.type != "cuda":
        return device, None
    free = free_bytes(device)
    if fits(needed, free):
        return device, None
    return torch.device("cpu"), (
        f"{otherwise}, which is slower: its state takes {needed / 2**30:.1f} GB, and of "
        f"the {free / 2**30:.1f} GB that are free on {device} it may take {SHARE_OF_FREE:.0%}"
    )


def fits(needed: int, free: int) -> bool:
    """Whether a state of this size leaves the rest what it wants."""
    return needed <= SHARE_OF_FREE * free


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a CUDA device, what torch holds without using it among it."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
