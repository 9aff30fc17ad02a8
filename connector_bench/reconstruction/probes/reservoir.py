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

SLACK = 1.25
"""How far past its capacity a reservoir fills before it sorts out the largest keys."""


class Reservoir:
    """Keeps the `capacity` rows with the smallest keys; a row is an entry of each named column."""

    def __init__(self, capacity: int, dtype: torch.dtype = torch.float32) -> None:
        if capacity < 1:
            raise ValueError(f"a reservoir holds at least one row, got a capacity of {capacity}")
        self.capacity = capacity
        self.dtype = dtype
        self._keys: list[np.ndarray] = []
        self._columns: list[dict[str, Tensor]] = []
        self._rows = 0
        self._ceiling: np.uint64 | None = None

    def __len__(self) -> int:
        return min(self._rows, self.capacity)

    def add(self, keys: np.ndarray, columns: Mapping[str, Tensor]) -> None:
        """Offer rows: `keys` `[n]` uint64, every column `[n, ...]`.

        Floating-point columns are stored in the reservoir's dtype; ValueError where a value does not fit it.
        """
        ceiling = np.uint64(2**64 - 1) if self._ceiling is None else self._ceiling
        wanted = np.flatnonzero(keys < ceiling)
        if not len(wanted):
            return
        index = torch.from_numpy(wanted)
        self._keys.append(keys[wanted])
        self._columns.append({name: self._store(name, column[index]) for name, column in columns.items()})
        self._rows += len(wanted)
        if self._rows > SLACK * self.capacity:
            self._compact()

    def _store(self, name: str, column: Tensor) -> Tensor:
        if not column.is_floating_point():
            return column.clone()
        stored = column.detach().to("cpu", self.dtype, copy=True)
        if not torch.isfinite(stored).all():
            raise ValueError(f"{name} holds values that {self.dtype} cannot: keep the reservoir in float32")
        return stored

    def _compact(self) -> None:
        """Sort by key and let go of what is past the capacity."""
        if not self._keys:
            return
        keys = np.concatenate(self._keys)
        order = np.argsort(keys, kind="stable")[: self.capacity]
        index = torch.from_numpy(order)
        names = self._columns[0]
        columns = {name: torch.cat([block[name] for block in self._columns])[index] for name in names}
        self._keys, self._columns, self._rows = [keys[order]], [columns], len(order)
        if self._rows == self.capacity:
            self._ceiling = self._keys[0][-1]

    def rows(self) -> tuple[np.ndarray, dict[str, Tensor]]:
        """Keys in rising order, `[n]`, and the columns in that order; empty columns are `{}`."""
        self._compact()
        if not self._keys:
            return np.zeros(0, dtype=np.uint64), {}
        return self._keys[0], self._columns[0]

    def absorb(self, other: Reservoir) -> None:
        """Merge another sample of disjoint rows; ValueError where capacity or dtype differ."""
        if (self.capacity, self.dtype) != (other.capacity, other.dtype):
            raise ValueError(
                f"reservoirs of {self.capacity} rows in {self.dtype} and of {other.capacity} in "
                f"{other.dtype} do not merge"
            )
        keys, columns = other.rows()
        if len(keys):
            self.add(keys, columns)

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Keys and columns under `prefix.`, for safetensors."""
        keys, columns = self.rows()
        stored = {f"{prefix}.column.{name}": column.contiguous() for name, column in columns.items()}
        return {f"{prefix}.keys": torch.from_numpy(keys.view(np.int64).copy()), **stored}

    def load(self, prefix: str, tensors: Mapping[str, Tensor]) -> None:
        """Take in what `tensors` wrote."""
        keys = tensors[f"{prefix}.keys"].numpy().view(np.uint64)
        head = f"{prefix}.column."
        columns = {name[len(head) :]: tensor for name, tensor in tensors.items() if name.startswith(head)}
        if len(keys):
            self.add(keys, columns)
