"""A sample of fixed size whose members depend on their keys alone: the rows with the smallest hashes.

Bottom-k sampling (Cohen and Kaplan 2007). Unlike reservoir sampling by a random generator, the sample is
the same for every order, batch size and number of processes, and two samples merge exactly: the smallest
keys of a union are among the smallest keys of its parts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from connector_bench.reconstruction.cells import on_device

SLACK = 1.25
"""How far past its capacity a reservoir fills before it sorts out the largest keys."""
EMPTY = np.uint64(2**64 - 1)
CROSSING_ROWS = 16384
"""Rows that go from one device to another together."""


class Reservoir:
    """Keeps the `capacity` rows with the smallest keys; a row is an entry of each named column.

    Keys are on the CPU, columns where they came from. A row that is let go leaves its place to a later one, so that
    no other is moved. Without a dtype, values are kept in the precision that they come in.
    """

    def __init__(self, capacity: int, dtype: torch.dtype | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"a reservoir holds at least one row, got a capacity of {capacity}")
        self.capacity = capacity
        self.dtype = dtype
        self._keys = np.zeros(0, dtype=np.uint64)
        """Of the rows that are held, by their place in the columns; of free places the largest key there is."""
        self._free = np.zeros(0, dtype=np.int64)
        """Places that hold no row."""
        self._columns: dict[str, Tensor] = {}
        self._ceiling = np.uint64(2**64 - 1)
        self._sorted = False

    def __len__(self) -> int:
        return min(self._held, self.capacity)

    @property
    def _held(self) -> int:
        return len(self._keys) - len(self._free)

    def add(self, keys: np.ndarray, columns: Mapping[str, Tensor]) -> None:
        """Offer rows: `keys` `[n]` uint64, every column `[n, ...]`, on the device where it is to stay.

        Floating-point columns are stored in the reservoir's dtype; ValueError where a value does not fit it, or
        where values without a dtype come in another precision than before.
        """
        wanted = np.flatnonzero(keys < self._ceiling)
        if self._held + len(wanted) > SLACK * self.capacity:
            wanted = self._without_largest(keys, wanted)
        if not len(wanted):
            return
        if len(self._free) < len(wanted):
            self._grow(len(wanted) - len(self._free), columns)
        places, self._free = self._free[: len(wanted)], self._free[len(wanted) :]
        self._keys[places], self._sorted = keys[wanted], False
        for name, column in columns.items():
            self._put(name, places, column, wanted)

    def _without_largest(self, keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Let go of all but the smallest of the keys that are held and wanted; what is still wanted of the new."""
        both = np.concatenate([self._keys, keys[wanted]])
        ceiling = np.partition(both, self.capacity - 1)[self.capacity - 1]
        gone = np.flatnonzero(self._keys > ceiling)
        self._keys[gone] = EMPTY
        self._free, self._ceiling = gone, ceiling
        return wanted[keys[wanted] <= ceiling]

    def _grow(self, least: int, columns: Mapping[str, Tensor]) -> None:
        """Make room: by half of what there is, up to what is ever held."""
        before = len(self._keys)
        most = int(SLACK * self.capacity)
        size = max(before + least, min(before + before // 2, most))
        self._keys = np.concatenate([self._keys, np.full(size - before, EMPTY)])
        self._free = np.concatenate([self._free, np.arange(before, size)])
        for name, column in columns.items():
            held = self._columns.get(name)
            floating = column.is_floating_point() and self.dtype is not None
            dtype = held.dtype if held is not None else self.dtype if floating else column.dtype
            room = torch.empty(size, *column.shape[1:], dtype=dtype, device=column.device)
            if held is not None:
                room[:before] = held
            self._columns[name] = room

    def _put(self, name: str, places: np.ndarray, column: Tensor, wanted: np.ndarray) -> None:
        held = self._columns[name] = self._columns[name].to(column.device)
        new = column.detach().index_select(0, on_device(wanted, column.device))
        if new.dtype != held.dtype:
            if self.dtype is None:
                raise ValueError(f"{name} comes in {new.dtype}, and came in {held.dtype} before")
            new = new.to(held.dtype)
            if not torch.isfinite(new).all():
                raise ValueError(
                    f"{name} holds values that {self.dtype} cannot: keep the reservoir in float32"
                )
        held.index_copy_(0, on_device(places, held.device), new)

    def rows(self) -> tuple[np.ndarray, dict[str, Tensor]]:
        """Keys in rising order, `[n]`, and the columns in that order; empty columns are `{}`."""
        if not self._sorted:
            order = self._order()
            for name in self._columns:
                self._columns[name] = self._columns[name][on_device(order, self._columns[name].device)]
            self._keys, self._free = self._keys[order], np.zeros(0, dtype=np.int64)
            self._sorted = True
        return self._keys, self._columns

    def _order(self) -> np.ndarray:
        """Places of the rows that are kept, by rising key."""
        return np.argsort(self._keys, kind="stable")[: len(self)]

    def absorb(self, other: Reservoir) -> None:
        """Merge another sample of disjoint rows; ValueError where capacity or dtype differ."""
        if (self.capacity, self.dtype) != (other.capacity, other.dtype):
            raise ValueError(
                f"reservoirs of {self.capacity} rows in {self.dtype} and of {other.capacity} in "
                f"{other.dtype} do not merge"
            )
        keys, columns = other.rows()
        devices = {name: column.device for name, column in (self._columns or columns).items()}
        for first in range(0, len(keys), CROSSING_ROWS):
            part = slice(first, first + CROSSING_ROWS)
            self.add(keys[part], {name: column[part].to(devices[name]) for name, column in columns.items()})

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Keys and columns under `prefix.`, on the CPU, for safetensors; they cross a part at a time."""
        order = self._order()
        stored = {f"{prefix}.keys": torch.from_numpy(self._keys[order].view(np.int64).copy())}
        for name, column in self._columns.items():
            crossed = torch.empty(len(order), *column.shape[1:], dtype=column.dtype)
            for first in range(0, len(order), CROSSING_ROWS):
                part = on_device(order[first : first + CROSSING_ROWS], column.device)
                crossed[first : first + len(part)] = column.index_select(0, part)
            stored[f"{prefix}.column.{name}"] = crossed
        return stored

    def load(self, prefix: str, tensors: Mapping[str, Tensor]) -> None:
        """Take in what `tensors` wrote."""
        keys = tensors[f"{prefix}.keys"].numpy().view(np.uint64)
        head = f"{prefix}.column."
        columns = {name[len(head) :]: tensor for name, tensor in tensors.items() if name.startswith(head)}
        if len(keys):
            self.add(keys, columns)
