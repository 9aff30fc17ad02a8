"""A value in two parts: its structure, pickled and small, and its tensors and arrays, which cross as they are."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter


@dataclass(frozen=True)
class Shape:
    """What a receiver has to know of a tensor before its bytes come."""

    dtype: torch.dtype
    sizes: tuple[int, ...]
    device: str
    """Kind of device: on which one of them is the receiver's own affair."""

    @property
    def nbytes(self) -> int:
        """Bytes that come."""
        count = 1
        for size in self.sizes:
            count *= size
        return count * self.dtype.itemsize


@dataclass(frozen=True)
class Packed:
    """A value's structure, and the contiguous tensors that it refers to."""

    structure: bytes
    tensors: Sequence[Tensor]

    @property
    def shapes(self) -> list[Shape]:
        """Of the tensors, in order."""
        return [Shape(one.dtype, tuple(one.shape), one.device.type) for one in self.tensors]

    @classmethod
    def of(cls, value: object) -> Packed:
        """Take a value apart; tensors are shared with it."""
        stream = io.BytesIO()
        packer = _Packer(stream)
        packer.dump(value)
        return cls(stream.getvalue(), packer.tensors)

    def value(self) -> Any:
        """Put the value together again; its tensors are these."""
        return _Unpacker(io.BytesIO(self.structure), self.tensors).load()


class _Packer(pickle.Pickler):
    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, protocol=5)
        self.tensors: list[Tensor] = []
        self._known: dict[int, tuple[object, tuple[Any, ...]]] = {}

    def persistent_id(self, found: object) -> tuple[Any, ...] | None:
        """The place of a tensor or array among `tensors`; None for what belongs to the structure."""
        if id(found) not in self._known:
            if _is_plain(found):
                place = self._tensor(found)  # type: ignore[arg-type]
            elif type(found) is np.ndarray and not found.dtype.hasobject:
                place = self._array(found)
            else:
                return None
            self._known[id(found)] = (found, place)  # the object too, or its id could come again
        return self._known[id(found)][1]

    def _tensor(self, found: Tensor) -> tuple[Any, ...]:
        values = found.detach()
        order = sorted(range(values.dim()), key=values.stride, reverse=True)
        if values.is_contiguous() or not values.permute(order).is_contiguous():
            order = list(range(values.dim()))
        self.tensors.append(values.permute(order).contiguous())
        kind = "parameter" if isinstance(found, Parameter) else "tensor"
        return kind, len(self.tensors) - 1, order, found.requires_grad

    def _array(self, found: np.ndarray) -> tuple[Any, ...]:
        turned = found.flags.f_contiguous and not found.flags.c_contiguous
        values = np.ascontiguousarray(found.T if turned else found)
        shape = (found.T if turned else found).shape
        flat = values.reshape(-1).view(np.uint8) if values.size else np.zeros(0, np.uint8)
        self.tensors.append(torch.from_numpy(flat if flat.flags.writeable else flat.copy()))
        return "array", len(self.tensors) - 1, found.dtype, shape, turned


class _Unpacker(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, tensors: Sequence[Tensor]) -> None:
        super().__init__(stream)
        self._tensors = tensors
        self._known: dict[int, object] = {}

    def persistent_load(self, place: tuple[Any, ...]) -> Any:
        """The tensor or array of a place, one object however often it stands in the structure."""
        kind, number, *rest = place
        if number not in self._known:
            build = self._array if kind == "array" else self._tensor
            self._known[number] = build(kind, self._tensors[number], *rest)
        return self._known[number]

    def _tensor(self, kind: str, values: Tensor, order: list[int], requires_grad: bool) -> Tensor:
        back = values.permute([order.index(dim) for dim in range(len(order))])
        return Parameter(back, requires_grad) if kind == "parameter" else back.requires_grad_(requires_grad)

    def _array(
        self, kind: str, values: Tensor, dtype: np.dtype, shape: tuple[int, ...], turned: bool
    ) -> np.ndarray:
        array = values.numpy().view(dtype).reshape(shape) if values.numel() else np.zeros(shape, dtype)
        return array.T if turned else array


def _is_plain(found: object) -> bool:
    """Whether this is an ordinary tensor whose bytes are its values."""
    if type(found) not in (Tensor, Parameter):
        return False
    assert isinstance(found, Tensor)
    return found.layout == torch.strided and not found.is_quantized and found.device.type != "meta"
