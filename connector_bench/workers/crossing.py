"""What a run hands to its worker processes once, and how messages refer to it afterwards."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from typing import Any

import dill

MOST_BYTES = 2**29
"""What is handed to worker processes may take no more."""


def packed_once(shared: Sequence[object]) -> bytes:
    """Objects as bytes; functions that cannot be imported elsewhere cross with what they use.

    Raises:
        Exception: what cannot cross, such as open files; a model; more than `MOST_BYTES`.
    """
    stream = _Bounded()
    # not protocol 5: there Python's own pickler takes an empty buffer's bytes for a bytearray wherever they come again
    _Refusing(stream, protocol=4, recurse=True).dump(list(shared))
    return stream.getvalue()


class _Bounded(io.BytesIO):
    def write(self, data: Any) -> int:
        """As far as `MOST_BYTES` allows: what is larger must not fill the memory first."""
        if self.tell() + len(data) > MOST_BYTES:
            raise ValueError(f"it takes more than {MOST_BYTES / 2**30:.1f} GiB")
        return super().write(data)


class _Refusing(dill.Pickler):
    def persistent_id(self, found: object) -> None:
        """No object has one; a model or a tensor on a device is refused before it is copied."""
        import torch

        if isinstance(found, torch.nn.Module) or (
            isinstance(found, torch.Tensor) and found.device.type != "cpu"
        ):
            raise pickle.PicklingError(f"it holds a {type(found).__name__} of the model")


class Messages:
    """Messages in which shared objects are referred to by their number."""

    def __init__(self, shared: Sequence[object]) -> None:
        self._shared = list(shared)
        self._numbers = {id(one): number for number, one in enumerate(self._shared)}

    def written(self, message: object) -> bytes:
        """A message as bytes. Raises what pickling raises."""
        stream = io.BytesIO()
        _Writer(stream, self._numbers).dump(message)
        return stream.getvalue()

    def read(self, data: bytes) -> Any:
        """The message of these bytes. Raises what unpickling raises."""
        return _Reader(io.BytesIO(data), self._shared).load()


class _Writer(pickle.Pickler):
    def __init__(self, stream: io.BytesIO, numbers: dict[int, int]) -> None:
        super().__init__(stream, protocol=5)
        self._numbers = numbers

    def persistent_id(self, found: object) -> int | None:
        """The number of a shared object."""
        return self._numbers.get(id(found))


class _Reader(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, shared: Sequence[object]) -> None:
        super().__init__(stream)
        self._shared = shared

    def persistent_load(self, number: int) -> object:
        """The shared object of this number."""
        return self._shared[number]
