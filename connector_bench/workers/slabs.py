"""Memory that a worker process fills and the model's process reads, without a copy and without a name in any folder.

A slab is an anonymous file (`memfd_create`) that both map. It is made once for about as much as a batch takes, handed
over by its descriptor, and filled again when the model's process has told that it is done with it.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from connector_bench.processes.packing import Shape

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ALIGNED = 64
ROUNDED = 2**20


@dataclass(frozen=True)
class Filled:
    """Where a value's tensors lie."""

    slab: int
    size: int
    """Bytes of the slab."""
    made: bool
    """Whether it was made for this, and its descriptor follows."""
    dropped: tuple[int, ...]
    """Slabs that were too small and are gone."""
    places: tuple[tuple[int, Shape], ...]
    """Of each tensor its first byte and what it is."""


class OwnSlabs:
    """A worker's slabs."""

    def __init__(self) -> None:
        self._maps: dict[int, mmap.mmap] = {}
        self._free: set[int] = set()
        self._made = 0

    def released(self, slab: int) -> None:
        """The model's process is done with it."""
        self._free.add(slab)

    def fill(self, tensors: Sequence[Tensor]) -> tuple[Filled, int]:
        """Put tensors in a free slab, or in one made for them: the second value is then its descriptor, else -1.

        Raises:
            OSError: there is no memory for it, or no descriptor is left.
        """
        import torch

        places, end = [], 0
        for one in tensors:
            places.append((end, Shape(one.dtype, tuple(one.shape), "cpu")))
            end += -(-one.nbytes // ALIGNED) * ALIGNED
        slab = min((one for one in self._free if len(self._maps[one]) >= end), default=None)
        dropped: tuple[int, ...] = ()
        descriptor = -1
        if slab is None:
            dropped = tuple(self._free)
            for small in dropped:
                del self._maps[small]
            self._free.clear()
            slab, descriptor = self._new(max(end, 1))
        self._free.discard(slab)
        whole = torch.frombuffer(self._maps[slab], dtype=torch.uint8)
        for (first, shape), one in zip(places, tensors, strict=True):
            part(whole, first, shape).copy_(one)
        filled = Filled(slab, len(self._maps[slab]), descriptor >= 0, dropped, tuple(places))
        return filled, descriptor

    def _new(self, least: int) -> tuple[int, int]:
        size = -(-least // ROUNDED) * ROUNDED
        descriptor = os.memfd_create("connector_bench")
        try:
            os.posix_fallocate(descriptor, 0, size)  # missing memory is told here, not by a signal later
            self._maps[self._made] = mmap.mmap(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
        self._made += 1
        return self._made - 1, descriptor


class ReceivedSlab:
    """A worker's slab in the model's process, with `pinned` as memory that a graphics card fetches from by itself.

    Raises:
        OSError: it cannot be mapped, or not be fetched from.
    """

    def __init__(self, descriptor: int, size: int, *, pinned: bool) -> None:
        import torch

        try:
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self.bytes: Tensor = torch.frombuffer(self._map, dtype=torch.uint8)
        self._pinned = False
        if pinned:
            error = torch.cuda.cudart().cudaHostRegister(self.bytes.data_ptr(), size, 0)
            if int(error) != 0:
                with suppress(RuntimeError):  # else the next kernel would be blamed for it
                    torch.zeros(1, device="cuda")
                said = torch.cuda.cudart().cudaGetErrorString(error)
                raise OSError(f"a graphics card cannot fetch from memory of theirs: {said}")
            self._pinned = True

    def close(self) -> None:
        """No card fetches from it any more."""
        import torch

        if self._pinned:
            self._pinned = False
            torch.cuda.cudart().cudaHostUnregister(self.bytes.data_ptr())


def part(whole: Tensor, first: int, shape: Shape) -> torch.Tensor:
    """A tensor that lies in a slab."""
    return whole[first : first + shape.nbytes].view(shape.dtype).view(shape.sizes)
