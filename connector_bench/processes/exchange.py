"""Values between ranks. Tensors and arrays cross as they are, from device to device where the process group can."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from connector_bench.processes.group import (
    MeasurementFailed,
    connected,
    cpu_group,
    error_text,
    patiently,
    rank_and_size,
)
from connector_bench.processes.meeting import meet

if TYPE_CHECKING:
    from torch import Tensor

    from connector_bench.processes.packing import Packed, Shape

T = TypeVar("T")
R = TypeVar("R")

PIECE = 2**28
"""Bytes that cross at a time."""


def gather_all(value: T) -> list[T]:
    """Every rank's value, in rank order, on every rank; for small values."""
    import torch.distributed as dist

    _, size = rank_and_size()
    if size == 1:
        return [value]
    meet()
    received: list[T | None] = [None] * size
    patiently(lambda: dist.all_gather_object(received, value, group=cpu_group()))
    return received  # type: ignore[return-value]


def on_first_rank(combine: Callable[[list[T]], R], value: T) -> R:
    """`combine` of all ranks' values, computed on rank 0 alone and handed to all.

    An error on rank 0 is raised on every rank, so that none waits for an answer that never comes.
    """
    return first_rank_takes_in_turn(value, lambda parts: combine(list(parts)))


def first_rank_takes_in_turn(value: T, combine: Callable[[Iterator[T]], R]) -> R:
    """As `on_first_rank`, for values so large that rank 0 should hold one other rank's at a time.

    Values come in the order of ranks, whichever is ready first.
    """
    rank, size = rank_and_size()
    if size == 1:
        return combine(iter([value]))
    meet()
    if rank != 0:
        _wait_for_turn()
        _send(value, 0)
        return _handed_to_all(None)

    def others() -> Iterator[T]:
        for source in range(1, size):
            _give_turn(source)
            yield _receive(source)

    arriving = others()

    def all_of_them() -> R:
        def own_first() -> Iterator[T]:
            yield value
            yield from arriving

        try:
            return combine(own_first())
        finally:
            for _ in arriving:  # what an error left unread must be received, or its sender waits for ever
                pass

    return _handed_to_all(all_of_them)


def _wait_for_turn() -> None:
    import torch
    import torch.distributed as dist

    patiently(lambda: dist.recv(torch.zeros(1), 0, group=cpu_group()))


def _give_turn(rank: int) -> None:
    import torch
    import torch.distributed as dist

    with connected():
        dist.send(torch.zeros(1), rank, group=cpu_group())


def _send(value: object, rank: int) -> None:
    import torch.distributed as dist

    from connector_bench.processes.packing import Packed

    packed = Packed.of(value)
    with connected():
        dist.send_object_list([packed.structure, packed.shapes], dst=rank, group=cpu_group())
        for tensor in packed.tensors:
            _carried(tensor, lambda piece, group: dist.send(piece, rank, group=group))


def _receive(rank: int) -> Any:
    import torch.distributed as dist

    head: list[Any] = [None, None]
    with connected():
        dist.recv_object_list(head, src=rank, group=cpu_group())
        tensors = [
            _filled(shape, lambda piece, group: dist.recv(piece, rank, group=group)) for shape in head[1]
        ]
    return _there(head[0], head[1], tensors)


def _there(structure: bytes, shapes: Sequence[Shape], tensors: Sequence[Tensor]) -> Any:
    """The value, its tensors on this process's device of the sender's kind. Raises where that has no room."""
    from connector_bench.processes.packing import Packed

    placed = [tensor.to(shape.device) for shape, tensor in zip(shapes, tensors, strict=True)]
    return Packed(structure, placed).value()


def _handed_to_all(work: Callable[[], R] | None) -> R:
    """What `work` gives on rank 0, or its error, on every rank."""
    import torch.distributed as dist

    from connector_bench.processes.packing import Packed

    def spread(piece: Tensor, group: Any) -> None:
        dist.broadcast(piece, 0, group=group)

    head: list[Any] = [None]
    result: Any = None
    packed: Packed | None = None
    if work is not None:
        try:
            result = work()
            packed = Packed.of(result)
            head = [(packed.structure, packed.shapes, None)]
        except Exception as error:
            packed, head = None, [(b"", [], error_text(error))]
    patiently(lambda: dist.broadcast_object_list(head, src=0, group=cpu_group()))
    structure, shapes, message = head[0]
    if message is not None:
        raise MeasurementFailed(message)
    with connected():
        if packed is not None:
            for tensor in packed.tensors:
                _carried(tensor, spread)
            return result
        tensors = [_filled(shape, spread) for shape in shapes]
    return _there(structure, shapes, tensors)


Carry = Callable[["Tensor", Any], object]
"""Moves one piece of a tensor's bytes through a group."""


def _carried(tensor: Tensor, carry: Carry) -> None:
    """Every piece of a tensor, from its own device where the group can, else through the CPU."""
    import torch

    there = _carries(tensor.device.type)
    values = tensor.reshape(-1).view(torch.uint8)
    for piece in values.split(PIECE) if len(values) else ():
        carry(piece if there else piece.cpu(), None if there else cpu_group())


def _filled(shape: Shape, carry: Carry) -> Tensor:
    """A tensor of this shape, whose pieces come in: on the CPU unless the group carries it elsewhere."""
    import torch

    there = _carries(shape.device)
    values = torch.empty(shape.nbytes, dtype=torch.uint8, device=shape.device if there else "cpu")
    for piece in values.split(PIECE) if len(values) else ():
        carry(piece, None if there else cpu_group())
    return values.view(shape.dtype).reshape(shape.sizes)


def _carries(device: str) -> bool:
    """Whether the run's own group carries tensors of this device without a way through the CPU."""
    import torch.distributed as dist

    if device == "cpu":
        return False
    config = dist.get_backend_config().split(",")
    return f"{device}:nccl" in config
